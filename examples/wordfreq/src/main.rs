//! Counts the words of its input files.
//!
//! As a job: `wordfreq [--top 10]` reads every file in the input folder, writes `words.txt` (count and word, the most
//! frequent first) into the output folder, and prints the top of the list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const USAGE: &str = "usage: wordfreq [--top N]";

fn main() -> ExitCode {
    match run() {
        Ok(lines) => {
            print!("{lines}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("wordfreq: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let top = wanted(&env::args().skip(1).collect::<Vec<_>>())?;
    let mut counts = HashMap::new();
    for file in inputs(&folder("IEXEC_IN", "/iexec_in"))? {
        let text = fs::read(&file).map_err(|e| format!("can't read {}: {e}", file.display()))?;
        count(&String::from_utf8_lossy(&text), &mut counts);
    }
    let sorted = sort(counts);
    let out = folder("IEXEC_OUT", "/iexec_out").join("words.txt");
    fs::write(&out, lines(&sorted)).map_err(|e| format!("can't write {}: {e}", out.display()))?;
    Ok(lines(&sorted[..top.min(sorted.len())]))
}

fn folder(variable: &str, usual: &str) -> PathBuf {
    env::var(variable).unwrap_or_else(|_| usual.to_owned()).into()
}

fn wanted(arguments: &[String]) -> Result<usize, String> {
    match arguments {
        [] => Ok(10),
        [option, number] if option == "--top" => {
            number.parse().map_err(|_| format!("--top '{number}' is not a number\n{USAGE}"))
        }
        _ => Err(format!("{} is more than this knows\n{USAGE}", arguments.join(" "))),
    }
}

/// The files of a folder, by name: a folder lists them in no order of its own.
fn inputs(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |e| format!("can't list {}: {e}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("no input: {} holds no file", folder.display()));
    }
    files.sort();
    Ok(files)
}

/// Adds a text's words: letters and digits in a row, with apostrophes within, in lower case.
fn count(text: &str, counts: &mut HashMap<String, u64>) {
    for piece in text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’') {
        let word = piece.trim_matches(['\'', '’']);
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
}

/// The most frequent first; equally frequent ones by the alphabet, so that the order is one only.
fn sort(counts: HashMap<String, u64>) -> Vec<(u64, String)> {
    let mut sorted: Vec<_> = counts.into_iter().map(|(word, count)| (count, word)).collect();
    sorted.sort_by(|(a, word_a), (b, word_b)| b.cmp(a).then_with(|| word_a.cmp(word_b)));
    sorted
}

fn lines(counts: &[(u64, String)]) -> String {
    counts.iter().map(|(count, word)| format!("{count:>7} {word}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<(u64, String)> {
        let mut counts = HashMap::new();
        count(text, &mut counts);
        sort(counts)
    }

    #[test]
    fn words_are_counted_whatever_their_case_and_neighbours() {
        let counts = counted("The ship, the SHIP: 'the' berth's\nberth's day-1");
        let all: Vec<_> = counts.iter().map(|(n, w)| (*n, w.as_str())).collect();
        assert_eq!(all, [(3, "the"), (2, "berth's"), (2, "ship"), (1, "1"), (1, "day")]);
    }

    #[test]
    fn letters_of_all_languages_are_letters() {
        assert_eq!(counted("Straße ÉTÉ été"), [(2, "été".to_owned()), (1, "straße".to_owned())]);
    }

    #[test]
    fn a_text_without_words_has_no_lines() {
        assert_eq!(lines(&counted(" -- '' … ")), "");
    }

    #[test]
    fn a_line_is_a_count_and_a_word() {
        assert_eq!(lines(&[(12, "the".to_owned())]), "     12 the\n");
    }

    #[test]
    fn only_a_number_of_lines_can_be_asked_for() {
        let arguments = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(wanted(&arguments("")), Ok(10));
        assert_eq!(wanted(&arguments("--top 3")), Ok(3));
        assert!(wanted(&arguments("--top many")).is_err());
        assert!(wanted(&arguments("book.txt")).is_err());
    }
}
