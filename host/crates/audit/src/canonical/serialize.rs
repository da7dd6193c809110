//! From anything serde can write to its bytes, without a tree of values in between.

use super::{CanonicalError, Problem, encode::Writer};
use serde::{
    Serialize,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};
use serde_json::Value;
use std::{borrow::Cow, cmp::Ordering, fmt};

/// The canonical bytes of what serde writes as JSON, at most [`RECORD_MAX`](super::RECORD_MAX): those that
/// [`encode`](super::encode()) gives for its value.
///
/// # Errors
/// [`Problem::Number`], [`Problem::TooDeep`], [`Problem::TooLong`], [`Problem::DuplicateMember`], and
/// [`Problem::Syntax`] for what is not JSON at all.
pub fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Writer::default();
    value.serialize(&mut out).map_err(|Stop(error)| error)?;
    Ok(out.into_bytes())
}

/// What ends it, as serde wants it.
#[derive(Debug)]
pub(super) struct Stop(CanonicalError);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(CanonicalError { at: 0, problem: Problem::Syntax })
    }
}

impl From<CanonicalError> for Stop {
    fn from(error: CanonicalError) -> Self {
        Self(error)
    }
}

type Written<T = ()> = Result<T, Stop>;

/// An array or object on its way.
pub(super) struct Nested<'a> {
    out: &'a mut Writer,
    /// What closes it: of a variant, two of them.
    close: &'static [u8],
    places: usize,
    /// Of an object: the names, and where each member begins behind the brace.
    members: Vec<(Cow<'static, str>, usize)>,
}

impl<'a> Nested<'a> {
    fn open(out: &'a mut Writer, open: &[u8], close: &'static [u8]) -> Written<Self> {
        out.enter()?;
        out.push(open)?;
        Ok(Self { out, close, places: 0, members: Vec::new() })
    }

    /// `{"name":` and what follows, closed by both.
    fn variant(out: &'a mut Writer, name: &str, open: &[u8], close: &'static [u8]) -> Written<Self> {
        out.enter()?;
        out.push(b"{")?;
        out.string(name)?;
        out.push(b":")?;
        Self::open(out, open, close)
    }

    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Written {
        self.out.separate(self.places)?;
        self.places += 1;
        value.serialize(&mut *self.out)
    }

    fn name(&mut self, name: Cow<'static, str>) -> Written {
        self.out.separate(self.places)?;
        self.places += 1;
        let begins = self.out.len();
        self.out.string(&name)?;
        self.out.push(b":")?;
        self.members.push((name, begins));
        Ok(())
    }

    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Written {
        self.name(Cow::Borrowed(name))?;
        value.serialize(&mut *self.out)
    }

    fn close(mut self) -> Written {
        self.sort()?;
        for close in self.close.chunks(1) {
            self.out.leave();
            self.out.push(close)?;
        }
        Ok(())
    }

    /// Members come in any order and are written in one.
    fn sort(&mut self) -> Written {
        let rising = |pair: &[(Cow<'static, str>, usize)]| matches!(pair, [(a, _), (b, _)] if order(a, b) == Ordering::Less);
        if self.members.windows(2).all(rising) {
            return Ok(());
        }
        let start = self.members.first().map_or(0, |(_, begins)| *begins);
        let written = self.out.take_from(start);
        let ends = self.members.iter().skip(1).map(|(_, begins)| begins - 1).chain([start + written.len()]);
        let mut members: Vec<_> = self.members.iter().zip(ends).map(|((name, begins), end)| (name, begins - start..end - start)).collect();
        members.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        if members.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(self.out.error(Problem::DuplicateMember).into());
        }
        for (place, (_, range)) in members.into_iter().enumerate() {
            self.out.separate(place)?;
            self.out.push(written.get(range).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// By UTF-16 units, which for ASCII is by bytes.
fn order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Written {
            Ok(self.integer(i64::try_from(value).ok())?)
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Nested<'a>;
    type SerializeTuple = Nested<'a>;
    type SerializeTupleStruct = Nested<'a>;
    type SerializeTupleVariant = Nested<'a>;
    type SerializeMap = Nested<'a>;
    type SerializeStruct = Nested<'a>;
    type SerializeStructVariant = Nested<'a>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    integers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128);

    fn serialize_bool(self, value: bool) -> Written {
        Ok(self.push(if value { b"true" } else { b"false" })?)
    }

    fn serialize_f32(self, _: f32) -> Written {
        Ok(self.integer(None)?)
    }

    fn serialize_f64(self, _: f64) -> Written {
        Ok(self.integer(None)?)
    }

    fn serialize_char(self, value: char) -> Written {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Written {
        Ok(self.string(value)?)
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        value.serialize(self)
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        Ok(self.push(b"null")?)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, variant: &'static str, value: &T) -> Written {
        let mut object = Nested::open(self, b"{", b"}")?;
        object.member(variant, value)?;
        object.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Written<Nested<'a>> {
        Nested::open(self, b"[", b"]")
    }

    fn serialize_tuple(self, _: usize) -> Written<Nested<'a>> {
        Nested::open(self, b"[", b"]")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Written<Nested<'a>> {
        Nested::open(self, b"[", b"]")
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Written<Nested<'a>> {
        Nested::variant(self, variant, b"[", b"]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Written<Nested<'a>> {
        Nested::open(self, b"{", b"}")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Written<Nested<'a>> {
        Nested::open(self, b"{", b"}")
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Written<Nested<'a>> {
        Nested::variant(self, variant, b"{", b"}}")
    }
}

macro_rules! items {
    ($($of:ident $method:ident),*) => {
        $(impl $of for Nested<'_> {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                self.item(value)
            }

            fn end(self) -> Written {
                self.close()
            }
        })*
    };
}

items!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field);

macro_rules! fields {
    ($($of:ident),*) => {
        $(impl $of for Nested<'_> {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
                self.member(name, value)
            }

            fn end(self) -> Written {
                self.close()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Nested<'_> {
    type Ok = ();
    type Error = Stop;

    /// A name is a string, or what JSON makes one of: an integer, a bool or a char.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        match serde_json::to_value(key).map_err(<Stop as ser::Error>::custom)? {
            Value::String(name) => self.name(Cow::Owned(name)),
            name @ (Value::Number(_) | Value::Bool(_)) => self.name(Cow::Owned(name.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(ser::Error::custom("a name")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut *self.out)
    }

    fn end(self) -> Written {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::encode, *};
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::HashMap;

    #[derive(Serialize)]
    enum Variants {
        Unit,
        Newtype(u8),
        Tuple(u8, &'static str),
        Struct { z: bool, a: Option<char> },
    }

    #[derive(Serialize)]
    struct All {
        z: [Variants; 4],
        numbers: HashMap<i32, i128>,
        a: (),
        m: Vec<u8>,
    }

    #[test]
    fn every_form_of_serde_is_the_bytes_of_its_value() {
        let z = [Variants::Unit, Variants::Newtype(1), Variants::Tuple(2, "\u{1f600}\n"), Variants::Struct { z: true, a: Some('é') }];
        let all = All { z, numbers: [(-7, 1), (5, -2)].into(), a: (), m: vec![0, 255] };
        assert_eq!(to_bytes(&all).unwrap(), encode(&serde_json::to_value(&all).unwrap()).unwrap());
        assert_eq!(to_bytes(&1.5).unwrap_err().problem, Problem::Number);
        assert_eq!(to_bytes(&u64::MAX).unwrap_err().problem, Problem::Number);
    }

    struct Twice;

    impl Serialize for Twice {
        fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("b", 1), ("a", 2), ("b", 3)])
        }
    }

    #[test]
    fn a_member_twice_is_refused() {
        assert_eq!(to_bytes(&Twice).unwrap_err().problem, Problem::DuplicateMember);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(|n| json!(n % (1 << 54))),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..6).prop_map(|m| json!(m))
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_has_one_form(value in values()) {
            match (to_bytes(&value), encode(&value)) {
                (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert!(a.is_err() && b.is_err()),
            }
        }
    }
}
