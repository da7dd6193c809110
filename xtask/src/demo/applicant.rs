//! Invented applications: Chinese names, resident IDs and mobile numbers that pass every check, and belong to nobody on purpose.

use super::scenario::{People, Scenario, draw};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Application {
    pub(crate) applicant: Applicant,
    pub(crate) amount: u64,
    pub(crate) documents: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Applicant {
    pub(crate) name: String,
    pub(crate) id_number: String,
    pub(crate) mobile: String,
}

impl Application {
    /// The same for the same seed and index, whatever was drawn before.
    pub(crate) fn nth(scenario: &Scenario, seed: u64, index: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index));
        let range = draw(&mut rng, &scenario.amounts, |amount| amount.weight).map_or(0..1, |amount| amount.from..amount.to);
        let documents = draw(&mut rng, &scenario.documents, |documents| documents.weight);
        Self {
            amount: rng.random_range(range),
            documents: documents.map(|documents| documents.named.clone()).unwrap_or_default(),
            applicant: Applicant::draw(&scenario.people, &mut rng),
        }
    }
}

impl Applicant {
    fn draw(people: &People, rng: &mut StdRng) -> Self {
        let mut pick = |items: &[String]| items.choose(rng).cloned().unwrap_or_default();
        let name = pick(&people.surnames) + &pick(&people.given_names);
        let (region, prefix) = (pick(&people.regions), pick(&people.mobile_prefixes));
        Self {
            name,
            id_number: id_number(&region, people.born, rng),
            mobile: format!("{prefix}{:08}", rng.random_range(0..100_000_000_u32)),
        }
    }
}

/// Region, birthday, a running number and the check digit of GB 11643.
fn id_number(region: &str, born: (u16, u16), rng: &mut StdRng) -> String {
    let (year, month) = (rng.random_range(born.0..=born.1), rng.random_range(1..=12));
    let day = rng.random_range(1..=days_of(year, month));
    let body = format!("{region}{year:04}{month:02}{day:02}{:03}", rng.random_range(1..1_000));
    let check = check_digit(&body);
    format!("{body}{check}")
}

fn days_of(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// ISO 7064 MOD 11-2 over the digits; `X` stands for ten.
fn check_digit(body: &str) -> char {
    let sum = body.bytes().fold(0, |sum, byte| (sum + u32::from(byte - b'0')) * 2 % 11);
    match (12 - sum) % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap_or('X'),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scenario::tests::shipped, *};
    use std::collections::BTreeSet;

    #[test]
    fn check_digits_are_those_of_the_standard() {
        // Examples of GB 11643 itself, and one that ends in X.
        assert_eq!(check_digit("11010519491231002"), 'X');
        assert_eq!(check_digit("44052418800101001"), '4');
        assert_eq!(check_digit("0794"), '0');
    }

    #[test]
    fn people_are_valid() {
        let scenario = shipped();
        for index in 0..2_000 {
            let Application { applicant, amount, documents } = Application::nth(&scenario, 7, index);
            let (body, check) = applicant.id_number.split_at(17);
            assert_eq!(check, check_digit(body).to_string());
            let year: u16 = body[6..10].parse().unwrap();
            let (month, day): (u8, u8) = (body[10..12].parse().unwrap(), body[12..14].parse().unwrap());
            assert!((1950..=2007).contains(&year) && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day), "{body}");
            assert!(matches!(applicant.mobile.as_bytes(), [b'1', b'3'..=b'9', rest @ ..] if rest.len() == 9), "{}", applicant.mobile);
            assert!((2..=4).contains(&applicant.name.chars().count()), "{}", applicant.name);
            assert!((500..900_000).contains(&amount) && documents.len() <= 5);
        }
    }

    #[test]
    fn a_seed_is_a_cast() {
        let scenario = shipped();
        let cast = |seed| (0..100).map(|index| Application::nth(&scenario, seed, index).applicant.id_number).collect::<BTreeSet<_>>();
        assert_eq!(cast(1), cast(1));
        assert_ne!(cast(1), cast(2));
        assert!(cast(1).len() > 98);
    }

    #[test]
    fn february_knows_leap_years() {
        assert_eq!([days_of(2000, 2), days_of(1900, 2), days_of(2004, 2), days_of(2001, 2), days_of(2001, 4)], [29, 28, 29, 28, 30]);
    }
}
