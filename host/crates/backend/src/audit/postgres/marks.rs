//! What is said in a stretch of the log, so that a search passes over the stretches that cannot have what it looks for.
//!
//! A mark is a Bloom filter over everything a filter can ask for, with the
//! times between which its records were made. It is made once, beside the
//! growing tree, when its stretch is full; what has no mark yet is read. So an
//! append writes nothing but the record, and marks outlast records that have
//! gone to the archive. A row of `audit_marks`:
//!
//! - `stretch`: its records are those of the sequences from 256 times this on.
//! - `from_ms`, `until_ms`: the first and the last time that a record has.
//! - `seen_ms`: the last time up to this stretch; it only rises.
//! - `bits`: the filter, a power of two of bits; null if not all of the records were there to be read.

use crate::{
    audit::tree::STRETCH,
    postgres::{from_sql, map_error, to_sql},
};
use plinth_audit::hash::sha256;
use plinth_capability::{Result, audit::AuditFilter};
use serde::Deserialize;
use sqlx::{PgPool, Postgres, QueryBuilder};
use std::{borrow::Cow, collections::HashSet, ops::Range};

/// Marks that are made in one statement.
const AT_ONCE: u64 = 16;
/// Statements of one call: what is left is marked at the next.
const ROUNDS: usize = 16;
/// Bits of a filter for each value that is in it, and how many of them are set: one in 300 values seems to be there and is not.
const BITS: usize = 12;
const HASHES: usize = 4;

/// What marks need of a record.
#[derive(Deserialize)]
struct Said<'a> {
    recorded_at_ms: u64,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    plugin_id: Cow<'a, str>,
    #[serde(borrow)]
    entry: Entry<'a>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    subject: Subject<'a>,
    #[serde(borrow)]
    outcome: Outcome<'a>,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow)]
    result: Cow<'a, str>,
}

/// A value and what it is of.
type Value<'a> = (char, Cow<'a, str>);

impl<'a> Said<'a> {
    fn values(self) -> impl Iterator<Item = Value<'a>> {
        let Self { actor, plugin_id, entry: Entry { action, subject, outcome }, .. } = self;
        let dots = action.match_indices('.').map(|(at, _)| at);
        let prefixes: Vec<Value<'a>> = dots.filter_map(|at| Some(('c', Cow::Owned(action.get(..at)?.to_owned())))).collect();
        let whole = [('a', actor), ('p', plugin_id), ('k', subject.kind), ('s', subject.id), ('o', outcome.result), ('c', action)];
        whole.into_iter().chain(prefixes)
    }
}

/// What a record must say to match: of each of these one.
fn asked(filter: &AuditFilter) -> Vec<Vec<Value<'_>>> {
    let AuditFilter { subject_kind, subject_id, action_prefix, actor, or_actor, plugin_id, outcome, from_ms: _, until_ms: _, text: _ } =
        filter;
    let or_actor = if actor.is_some() { or_actor } else { &None };
    let all = [
        ('a', [actor, or_actor]),
        ('p', [plugin_id, &None]),
        ('k', [subject_kind, &None]),
        ('s', [subject_id, &None]),
        ('o', [outcome, &None]),
        ('c', [action_prefix, &None]),
    ];
    let named = all.into_iter().map(|(of, names)| names.into_iter().flatten().map(|name| (of, Cow::Borrowed(name.as_str()))).collect());
    named.filter(|names: &Vec<_>| !names.is_empty()).collect()
}

/// The places of a value, for a filter of any size.
fn places((of, value): &Value<'_>) -> [u32; HASHES] {
    let hash = sha256(format!("{of}{value}").as_bytes());
    let mut words = hash.as_bytes().chunks_exact(4).filter_map(|word| word.try_into().ok()).map(u32::from_be_bytes);
    // Without the highest bit, so that the server reads it as a positive number.
    std::array::from_fn(|_| words.next().unwrap_or_default() >> 1)
}

/// Bit `n` is in byte `n / 8`, the lowest first, as `get_bit` counts.
fn bits(values: &HashSet<Value<'_>>) -> Vec<u8> {
    let size = (values.len() * BITS).next_power_of_two().max(64);
    let mut bits = vec![0_u8; size / 8];
    for place in values.iter().flat_map(places) {
        let bit = place as usize & (size - 1);
        if let Some(byte) = bits.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    bits
}

/// One row, without its `seen_ms`.
struct Mark {
    from_ms: i64,
    until_ms: i64,
    bits: Option<Vec<u8>>,
}

/// Of a stretch of which something is missing or damaged: it may have anything.
const UNKNOWN: Mark = Mark { from_ms: 0, until_ms: i64::MAX, bits: None };

fn mark<'a>(records: impl Iterator<Item = &'a [u8]>) -> Mark {
    let said: Option<Vec<Said<'_>>> = records.map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    let Some(said) = said.filter(|said| said.len() as u64 == STRETCH) else { return UNKNOWN };
    let times = || said.iter().map(|one| to_sql(one.recorded_at_ms));
    let (from_ms, until_ms) = (times().min().unwrap_or(0), times().max().unwrap_or(i64::MAX));
    let values: HashSet<Value<'_>> = said.into_iter().flat_map(Said::values).collect();
    Mark { from_ms, until_ms, bits: Some(bits(&values)) }
}

/// Makes the marks of stretches that are full; several hosts may do so at once. What is not among `known`,
/// some of the newest records in order, is read.
pub(in crate::audit) async fn make(pool: &PgPool, known: &[(u64, Vec<u8>)]) -> Result<()> {
    for _ in 0..ROUNDS {
        let (next, marked) = state(pool).await?;
        let to = next / STRETCH;
        if marked >= to {
            return Ok(());
        }
        let from_here = known.iter().skip_while(|(sequence, _)| *sequence < marked * STRETCH);
        let first = from_here.clone().next().map_or(next, |(sequence, _)| *sequence);
        if first == marked * STRETCH {
            let rows: Vec<_> = from_here.map(|(sequence, bytes)| (*sequence, bytes.as_slice())).collect();
            let last = rows.last().map_or(first, |(sequence, _)| sequence + 1);
            return put(pool, marked, marks(marked..to.min(last / STRETCH), &rows)).await;
        }
        let to = to.min(first.div_ceil(STRETCH)).min(marked + AT_ONCE);
        let rows = super::find::rows(pool, marked * STRETCH..to * STRETCH, STRETCH * AT_ONCE).await?;
        let rows: Vec<_> = rows.iter().map(|(sequence, bytes)| (*sequence, bytes.as_slice())).collect();
        put(pool, marked, marks(marked..to, &rows)).await?;
    }
    Ok(())
}

fn marks(stretches: Range<u64>, rows: &[(u64, &[u8])]) -> Vec<Mark> {
    let of = |stretch: u64| {
        let from = rows.partition_point(|(sequence, _)| sequence / STRETCH < stretch);
        let to = rows.partition_point(|(sequence, _)| sequence / STRETCH <= stretch);
        mark(rows.get(from..to).unwrap_or_default().iter().map(|(_, bytes)| *bytes))
    };
    stretches.map(of).collect()
}

/// Where the log ends, and how many stretches have their marks.
pub(super) async fn state(pool: &PgPool) -> Result<(u64, u64)> {
    let sql = "SELECT next, (SELECT coalesce(max(stretch) + 1, 0) FROM plinth.audit_marks) FROM plinth.audit_end";
    let (next, marked) = sqlx::query_as(sql).fetch_one(pool).await.map_err(|e| map_error("audit.mark", e))?;
    Ok((from_sql(next), from_sql(marked)))
}

/// Nothing happens if another host was faster.
async fn put(pool: &PgPool, from: u64, marks: Vec<Mark>) -> Result<()> {
    let sql = "INSERT INTO plinth.audit_marks (stretch, from_ms, until_ms, seen_ms, bits)
        SELECT $1 + place - 1, from_ms, until_ms, greatest(seen, max(until_ms) OVER (ORDER BY place)), bits
        FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) WITH ORDINALITY AS r (from_ms, until_ms, bits, place),
        (SELECT coalesce(max(stretch) + 1, 0) AS marked, coalesce(max(seen_ms), 0) AS seen FROM plinth.audit_marks) AS m
        WHERE marked = $1 ON CONFLICT DO NOTHING";
    let (mut froms, mut untils, mut filters) = (Vec::new(), Vec::new(), Vec::new());
    for Mark { from_ms, until_ms, bits } in marks {
        froms.push(from_ms);
        untils.push(until_ms);
        filters.push(bits);
    }
    let put = sqlx::query(sql).bind(to_sql(from)).bind(froms).bind(untils).bind(filters).execute(pool).await;
    put.map(drop).map_err(|e| map_error("audit.mark", e))
}

/// Whether a filter asks for anything that marks know of.
pub(super) fn narrows(filter: &AuditFilter) -> bool {
    filter.from_ms.is_some() || filter.until_ms.is_some() || !asked(filter).is_empty()
}

/// The first stretches of these that may have what is asked for, at most `limit`, in order. All of them have marks.
pub(super) async fn candidates(pool: &PgPool, filter: &AuditFilter, stretches: Range<u64>, limit: u64) -> Result<Vec<u64>> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT stretch FROM plinth.audit_marks WHERE stretch >= ");
    query.push_bind(to_sql(stretches.start)).push(" AND stretch < ").push_bind(to_sql(stretches.end));
    if let Some(from) = filter.from_ms {
        query.push(" AND until_ms >= ").push_bind(to_sql(from));
        query.push(" AND stretch >= (SELECT stretch FROM plinth.audit_marks WHERE seen_ms >= ").push_bind(to_sql(from));
        query.push(" ORDER BY seen_ms, stretch LIMIT 1)");
    }
    if let Some(until) = filter.until_ms {
        query.push(" AND from_ms < ").push_bind(to_sql(until));
    }
    query.push(" AND (bits IS NULL OR (true");
    for alternatives in asked(filter) {
        query.push(" AND (false");
        for value in alternatives {
            query.push(" OR (true");
            for place in places(&value) {
                query.push(" AND get_bit(bits, ").push_bind(i32::try_from(place).unwrap_or_default());
                query.push(" & (8 * length(bits) - 1)) = 1");
            }
            query.push(")");
        }
        query.push(")");
    }
    query.push(")) ORDER BY stretch LIMIT ").push_bind(to_sql(limit));
    let found: Vec<(i64,)> = query.build_query_as().fetch_all(pool).await.map_err(|e| map_error("audit.find", e))?;
    Ok(found.into_iter().map(|(stretch,)| from_sql(stretch)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_filter_is_found_and_little_else() {
        let value = |n: u32| ('s', Cow::Owned(format!("A-{n}")));
        let values: HashSet<Value<'_>> = (0..600).map(value).collect();
        let filter = bits(&values);
        let set = |place: u32| {
            let bit = place as usize & (filter.len() * 8 - 1);
            filter[bit / 8] >> (bit % 8) & 1 == 1
        };
        let there = |n: u32| places(&value(n)).into_iter().all(set);
        assert!((0..600).all(there));
        let seeming = (600..30_600).filter(|n| there(*n)).count();
        assert!((1..300).contains(&seeming), "{seeming} of 30,000");
    }

    #[test]
    fn a_stretch_with_less_than_all_may_have_anything() {
        assert!(mark(std::iter::empty()).bits.is_none());
        assert!(mark([b"{}".as_slice(); 256].into_iter()).bits.is_none());
    }
}
