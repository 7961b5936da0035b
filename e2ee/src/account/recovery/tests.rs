use super::*;
use crate::account::testing::rng;

fn code() -> (RecoveryCode, String) {
    let code = RecoveryCode::generate(&mut rng());
    let text = code.to_string();
    (code, text)
}

#[test]
fn a_code_is_shown_in_groups_without_look_alikes_and_reads_back() {
    let (code, text) = code();
    assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [5; 7]);
    assert!(!text.contains(['I', 'L', 'O', 'U']));
    assert_eq!(text.parse::<RecoveryCode>().unwrap().0, code.0);
    assert_ne!(RecoveryCode::generate(&mut rng()).0, code.0);
    assert_eq!(format!("{code:?}"), "RecoveryCode(secret)");
}

#[test]
fn reading_forgives_what_people_do() {
    for _ in 0..50 {
        let (code, text) = code();
        let sloppy =
            format!("  {}\n", text.to_lowercase().replace('-', " \u{2013} ").replace('0', "o").replace('1', "l"));
        assert_eq!(sloppy.parse::<RecoveryCode>().unwrap().0, code.0);
        assert_eq!(text.replace('-', "").replace('1', "I").parse::<RecoveryCode>().unwrap().0, code.0);
    }
}

#[test]
fn every_single_wrong_character_is_found() {
    for _ in 0..5 {
        let plain = code().1.replace('-', "").into_bytes();
        for position in 0..plain.len() {
            for wrong in ALPHABET.iter().filter(|wrong| **wrong != plain[position]) {
                let mut typed = plain.clone();
                typed[position] = *wrong;
                let error = String::from_utf8(typed).unwrap().parse::<RecoveryCode>().unwrap_err();
                assert_eq!(error, RecoveryCodeError::Mistyped, "position {position}");
            }
        }
    }
}

#[test]
fn every_swap_of_two_characters_is_found() {
    for _ in 0..5 {
        let plain = code().1.replace('-', "").into_bytes();
        for one in 0..plain.len() {
            for other in (0..one).filter(|other| plain[*other] != plain[one]) {
                let mut typed = plain.clone();
                typed.swap(one, other);
                let error = String::from_utf8(typed).unwrap().parse::<RecoveryCode>().unwrap_err();
                assert_eq!(error, RecoveryCodeError::Mistyped, "{one} and {other}");
            }
        }
    }
}

#[test]
fn missing_extra_and_foreign_characters_are_named() {
    let text = code().1;
    let error = |text: &str| text.parse::<RecoveryCode>().unwrap_err();
    assert_eq!(error(""), RecoveryCodeError::Length(0));
    assert_eq!(error(&text[..text.len() - 1]), RecoveryCodeError::Length(34));
    assert_eq!(error(&format!("{text}0")), RecoveryCodeError::Length(36));
    assert_eq!(error(&text.replacen('-', "U", 1)), RecoveryCodeError::Character('U'));
    assert_eq!(error(&text.replacen('-', "ä", 1)), RecoveryCodeError::Character('ä'));
}

#[test]
fn the_secrets_depend_on_code_server_and_name() {
    let (code, _) = code();
    let secrets = code.secrets(&[1; 32], "alice");
    assert_ne!(secrets.auth, secrets.wrap);
    assert_eq!(secrets.auth, code.to_string().parse::<RecoveryCode>().unwrap().secrets(&[1; 32], "alice").auth);
    assert_ne!(secrets.auth, code.secrets(&[2; 32], "alice").auth);
    assert_ne!(secrets.auth, code.secrets(&[1; 32], "bob").auth);
    assert_ne!(secrets.auth, RecoveryCode::generate(&mut rng()).secrets(&[1; 32], "alice").auth);
}
