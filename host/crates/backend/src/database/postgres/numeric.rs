//! PostgreSQL's binary form of exact decimal numbers: digits to the base of 10 000.

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// Guest-controlled: digits before or after the point; the server takes more than anybody needs.
const DIGITS_MAX: usize = 1_000;

pub(super) fn encode(text: &str) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "it is not a decimal number in plain notation";
    let (negative, number) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| t.len() <= DIGITS_MAX && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return Err(BAD);
    }
    // Groups of four digits, counted from the point.
    let left = whole.len().next_multiple_of(4);
    let right = fraction.len().next_multiple_of(4);
    let padded = format!("{whole:0>left$}{fraction:0<right$}");
    let mut groups: Vec<u16> = Vec::with_capacity(padded.len() / 4);
    for group in padded.as_bytes().chunks(4) {
        groups.push(group.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')));
    }
    let zeros = groups.iter().take_while(|g| **g == 0).count();
    let mut groups = groups.split_off(zeros);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let weight = i32::try_from(left / 4).map_err(|_| BAD)? - 1 - i32::try_from(zeros).map_err(|_| BAD)?;
    let weight = if groups.is_empty() { 0 } else { i16::try_from(weight).map_err(|_| BAD)? };
    let sign = if negative && !groups.is_empty() { NEGATIVE } else { POSITIVE };
    let count = u16::try_from(groups.len()).map_err(|_| BAD)?;
    let scale = u16::try_from(fraction.len()).map_err(|_| BAD)?;
    let mut out = Vec::with_capacity(8 + groups.len() * 2);
    out.extend(count.to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(scale.to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
    Ok(out)
}

pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_at_checked(8)?;
    let word = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
    let (weight, sign, scale) = (i16::from_be_bytes(word(2)?.to_be_bytes()), word(4)?, usize::from(word(6)?));
    match sign {
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        MINUS_INFINITY => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let groups: Vec<u16> = rest.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect();
    let group = |index: i32| usize::try_from(index).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
    let mut text = String::new();
    let weight = i32::from(weight);
    for index in 0..=weight.max(0) {
        // A number below one has no group before the point.
        let value = if weight < 0 { 0 } else { group(index) };
        if text.is_empty() { text.push_str(&value.to_string()) } else { text.push_str(&format!("{value:04}")) }
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut index = weight + 1;
        if weight < 0 {
            // Zeros between the point and the first group.
            (0..(-1 - weight)).for_each(|_| fraction.push_str("0000"));
            index = 0;
        }
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", group(index)));
            index += 1;
        }
        fraction.truncate(scale);
        text.push('.');
        text.push_str(&fraction);
    }
    if sign == NEGATIVE {
        text.insert(0, '-');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_numbers_keep_their_form() {
        for text in ["0", "1", "-1", "10000", "9999.9999", "0.0001", "0.00000001", "-0.5", "12345678901234567890.50", "100000000.000"] {
            assert_eq!(decode(&encode(text).unwrap()).as_deref(), Some(text));
        }
        assert_eq!(decode(&encode("+007.10").unwrap()).as_deref(), Some("7.10"));
        for bad in ["", "-", ".", "1e5", "0x1", "1.2.3", " 1", "--1", "NaN"] {
            assert!(encode(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?") {
            let back = decode(&encode(&text).unwrap()).unwrap();
            let zero = text.bytes().all(|b| b"-0.".contains(&b));
            prop_assert_eq!(back.as_str(), if zero { text.trim_start_matches('-') } else { &text });
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            drop(decode(&bytes));
        }
    }
}
