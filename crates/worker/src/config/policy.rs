//! `[policy]`: whose jobs to take, for how much, and when.

use alloy::primitives::{Address, B256};
use berth_wire::{units::Decimal, worker::Terms};
use core::{fmt, str::FromStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::time::Duration;
use thiserror::Error;

/// Whose jobs a worker takes, and when. The worker checks it itself; the scheduler is told, so that it gives out nothing
/// in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Only these apps; empty: any.
    #[serde(default)]
    pub apps: Vec<B256>,
    /// None of these apps.
    #[serde(default)]
    pub refused_apps: Vec<B256>,
    /// Only these requesters; empty: anybody.
    #[serde(default)]
    pub requesters: Vec<Address>,
    /// None of these requesters.
    #[serde(default)]
    pub refused_requesters: Vec<Address>,
    /// The least that a deal has to pay the pool for a task, in the token's smallest unit.
    #[serde(default)]
    pub min_price: Decimal,
    /// When tasks are begun; empty: always.
    #[serde(default)]
    pub schedule: Vec<Window>,
    /// The time zone of the schedule: a name as `Europe/Paris`, or `local`, this machine's.
    #[serde(default = "local")]
    pub zone: String,
    /// Only while nobody else needs the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
}

/// The machine's own time zone.
pub(crate) const LOCAL: &str = "local";

fn local() -> String {
    LOCAL.to_owned()
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            apps: Vec::new(),
            refused_apps: Vec::new(),
            requesters: Vec::new(),
            refused_requesters: Vec::new(),
            min_price: Decimal(0),
            schedule: Vec::new(),
            zone: local(),
            idle: None,
        }
    }
}

impl Policy {
    /// As the scheduler is told of it. Whether the worker takes anything now is not part of it.
    pub fn terms(&self) -> Terms {
        Terms {
            closed: None,
            apps: self.apps.clone(),
            refused_apps: self.refused_apps.clone(),
            requesters: self.requesters.clone(),
            refused_requesters: self.refused_requesters.clone(),
            min_price: self.min_price,
        }
    }
}

/// When a machine counts as idle. Both conditions have to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// The most that others than the worker's jobs may load it, in thousandths of a core: the system's load average of
    /// one minute, less the cores that the worker's jobs were given in that minute.
    pub load_millis: u32,
    /// For how long nobody may have typed at one of its terminals (consoles, and sessions by ssh).
    #[serde(with = "humantime_serde")]
    pub input: Duration,
}

/// Days and hours: `mon-fri 20:00-07:00`. Hours that end before they begin end on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From Monday on.
    days: [bool; 7],
    /// Minutes of the day; the end is not part of it.
    from: u16,
    to: u16,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// A text says no days and hours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` says no days and hours: write them as in \"mon-fri 20:00-07:00\", \"sat,sun 00:00-24:00\", \"daily 8-12\""
)]
pub struct ParseWindowError(String);

impl Window {
    /// Whether a minute of a day (0: Monday) is in it.
    pub fn holds(&self, day: usize, minute: u16) -> bool {
        let on = |day: usize| self.days[day % DAYS.len()];
        if self.from < self.to {
            return on(day) && (self.from..self.to).contains(&minute);
        }
        (on(day) && minute >= self.from) || (on(day + DAYS.len() - 1) && minute < self.to)
    }
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, ParseWindowError> {
        let wrong = || ParseWindowError(text.to_owned());
        let (days, hours) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
        let (from, to) = hours.trim().split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        let days = week(&days.to_lowercase()).ok_or_else(wrong)?;
        if from == to || from == DAY_MINUTES {
            return Err(wrong());
        }
        Ok(Self { days, from, to })
    }
}

fn week(text: &str) -> Option<[bool; 7]> {
    if text == "daily" {
        return Some([true; 7]);
    }
    let number = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let count = (last + DAYS.len() - first) % DAYS.len();
        (first..=first + count).for_each(|day| days[day % DAYS.len()] = true);
    }
    Some(days)
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':').unwrap_or((text, "0"));
    let (hours, minutes) = (hours.trim().parse::<u16>().ok()?, minutes.trim().parse::<u16>().ok()?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && all <= DAY_MINUTES).then_some(all)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|(day, _)| *day).collect();
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{} {}-{}", days.join(","), clock(self.from), clock(self.to))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night: Window = "mon-fri 20:00-07:00".parse().expect("a window");
        assert!(night.holds(0, 20 * 60) && night.holds(1, 7 * 60 - 1) && night.holds(5, 0));
        assert!(
            !night.holds(0, 0) && !night.holds(0, 20 * 60 - 1) && !night.holds(1, 7 * 60) && !night.holds(5, 21 * 60)
        );
        let weekend: Window = "Sat-mon 00:00-24:00".parse().expect("a window");
        assert!(weekend.holds(5, 0) && weekend.holds(6, 1_439) && weekend.holds(0, 700) && !weekend.holds(1, 0));
        let short: Window = "daily 8-12:30".parse().expect("a window");
        assert!(short.holds(3, 8 * 60) && !short.holds(3, 12 * 60 + 30));
        assert_eq!(night.to_string().parse(), Ok(night));
    }

    #[test]
    fn what_says_no_days_and_hours_is_refused() {
        for text in [
            "",
            "mon",
            "mon 8",
            "mon 8-8",
            "mon 8-25",
            "mon 8:60-9",
            "xyz 8-9",
            "mon- 8-9",
            "mon 24:00-3",
            "mon 8-9-10",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text:?}");
        }
    }
}
