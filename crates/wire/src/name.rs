//! Names of packages: software that is installed on a machine, and that jobs find there. Neither case nor blanks tell two
//! of them apart, so one form of each is written: lower case, without blanks.

/// A package's name as it is written in documents: lower case, without blanks.
pub fn folded(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Many names, folded, each once, in order. Empty ones are left out.
pub fn folded_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = names.into_iter().map(folded).filter(|name| !name.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}

/// The longest name.
const MAX_BYTES: usize = 255;

/// Whether these are names as documents have them: folded, printable, each once, in order.
pub fn are_folded(names: &[String]) -> bool {
    let is_one = |name: &String| {
        !name.is_empty() && name.len() <= MAX_BYTES && *name == folded(name) && !name.chars().any(char::is_control)
    };
    names.iter().all(is_one) && names.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_case_nor_blanks_tell_two_names_apart() {
        assert_eq!(folded_all([" Root ", "GEANT 4", "root", "", " "]), ["geant4", "root"]);
        assert!(are_folded(&folded_all(["B", "a"])) && are_folded(&[]));
        for wrong in [&["B"][..], &["b", "a"], &["a", "a"], &["a b"], &[""], &["a\0"]] {
            assert!(!are_folded(&wrong.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()), "{wrong:?}");
        }
    }
}
