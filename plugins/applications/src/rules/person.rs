//! Checks and masks for a person's name, resident identity number and mobile.

use super::time::valid_date;

/// A Chinese name: 2 to 20 Han characters, with `·` allowed inside.
pub fn valid_name(name: &str) -> bool {
    let count = name.chars().count();
    let han = |c: char| matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}');
    (2..=20).contains(&count) && name.chars().all(|c| han(c) || c == '·') && !name.starts_with('·') && !name.ends_with('·')
}

/// 18 characters whose birth date exists and whose last one is the ISO 7064
/// MOD 11-2 check character of the others.
pub fn valid_resident_id(id: &str) -> bool {
    let Some((body, check)) = id.split_at_checked(17) else { return false };
    if !body.bytes().all(|b| b.is_ascii_digit()) || body.starts_with('0') {
        return false;
    }
    let part = |range: std::ops::Range<usize>| body.get(range).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    valid_date(part(6..10), part(10..12), part(12..14)) && check == check_character(body)
}

/// ISO 7064 MOD 11-2: double after each digit, modulo 11; the character brings
/// the whole to 1.
fn check_character(digits: &str) -> &'static str {
    let sum = digits.bytes().fold(0, |sum, digit| (sum + u32::from(digit - b'0')) * 2 % 11);
    match (12 - sum) % 11 {
        0 => "0",
        1 => "1",
        2 => "2",
        3 => "3",
        4 => "4",
        5 => "5",
        6 => "6",
        7 => "7",
        8 => "8",
        9 => "9",
        _ => "X",
    }
}

/// Eleven digits that begin with 13 to 19.
pub fn valid_mobile(mobile: &str) -> bool {
    mobile.len() == 11 && mobile.bytes().all(|b| b.is_ascii_digit()) && matches!(mobile.as_bytes(), [b'1', b'3'..=b'9', ..])
}

/// `张三丰` → `张**`.
pub fn mask_name(name: &str) -> String {
    name.chars().enumerate().map(|(index, c)| if index == 0 { c } else { '*' }).collect()
}

/// `11010119900307002X` → `110***********002X`.
pub fn mask_resident_id(id: &str) -> String {
    mask_middle(id, 3, 4)
}

/// `13800138000` → `138****8000`.
pub fn mask_mobile(mobile: &str) -> String {
    mask_middle(mobile, 3, 4)
}

/// Keeps a head and a tail; a text too short for both is hidden whole.
fn mask_middle(text: &str, head: usize, tail: usize) -> String {
    let count = text.chars().count();
    let hidden = |index: usize| count <= head + tail || (head..count - tail).contains(&index);
    text.chars().enumerate().map(|(index, c)| if hidden(index) { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers made for tests: made-up sequence numbers, computed check digits.
    const VALID: [&str; 4] = ["11010519491231002X", "110101199003070039", "440524188001010014", "110101200002290010"];

    #[test]
    fn the_check_character_is_checked() {
        for id in VALID {
            let body = &id[..17];
            assert!(valid_resident_id(&format!("{body}{}", check_character(body))), "{id}");
            let wrong = if check_character(body) == "1" { "2" } else { "1" };
            assert!(!valid_resident_id(&format!("{body}{wrong}")), "{id}");
        }
        // The worked examples of GB 11643-1999, annex A.
        assert!(valid_resident_id("11010519491231002X"));
        assert!(valid_resident_id("440524188001010014"));
    }

    #[test]
    fn any_single_wrong_digit_is_found() {
        let good = "11010519491231002X";
        for place in 14..17 {
            for digit in '0'..='9' {
                let mut text: Vec<char> = good.chars().collect();
                if text[place] == digit {
                    continue;
                }
                text[place] = digit;
                assert!(!valid_resident_id(&text.iter().collect::<String>()), "{text:?}");
            }
        }
    }

    #[test]
    fn malformed_numbers_are_refused() {
        for bad in ["", "11010519491231002x", "1101051949123100", "11010519491331002X", "110105194912310021X", "张10519491231002X"] {
            assert!(!valid_resident_id(bad), "{bad}");
        }
        assert!(!valid_resident_id(&format!("11010120010229001{}", check_character("11010120010229001"))), "no such day");
    }

    #[test]
    fn mobiles_and_names() {
        assert!(valid_mobile("13800138000") && valid_mobile("19912345678"));
        for bad in ["12800138000", "1380013800", "138001380000", "1380013800a", "23800138000", "１3800138000"] {
            assert!(!valid_mobile(bad), "{bad}");
        }
        assert!(valid_name("张三") && valid_name("阿卜杜拉·买买提"));
        for bad in ["", "张", "John", "张3", "·张三", "张三·", &"张".repeat(21)] {
            assert!(!valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn masks_keep_only_what_they_say() {
        assert_eq!(mask_name("张三丰"), "张**");
        assert_eq!(mask_resident_id("11010519491231002X"), "110***********002X");
        assert_eq!(mask_mobile("13800138000"), "138****8000");
        assert_eq!(mask_mobile("123"), "***");
        assert_eq!(mask_resident_id(""), "");
    }
}
