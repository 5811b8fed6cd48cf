//! Whether tasks are let in now, by the owner's hand, the hours, and whether somebody else needs the machine.
//!
//! What others need is measured so: the system's load average of one minute, less the cores that the worker's own jobs were
//! given, averaged over the same minute in the same way; and when somebody last typed at one of the machine's terminals
//! (consoles and sessions by ssh), which is when its device was last read. A mouse is not seen.

use crate::{
    config::{Idle, Policy, zone},
    stance::Stance,
};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// The time over which the system averages its load.
const AVERAGE: Duration = Duration::from_secs(60);

/// Where a system says how it is.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    proc: PathBuf,
    dev: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { proc: "/proc".into(), dev: "/dev".into() }
    }
}

impl Machine {
    /// The system's load average of one minute, in thousandths of a core.
    fn load_millis(&self) -> Option<f64> {
        let text = fs::read_to_string(self.proc.join("loadavg")).ok()?;
        Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1_000.0)
    }

    /// When somebody last typed at a terminal, in seconds since 1970.
    fn last_input_s(&self) -> Option<i64> {
        let consoles = entries(&self.dev, |name| {
            name.strip_prefix("tty").is_some_and(|n| !n.is_empty() && n.bytes().all(|digit| digit.is_ascii_digit()))
        });
        let sessions = entries(&self.dev.join("pts"), |name| name.bytes().all(|digit| digit.is_ascii_digit()));
        consoles.chain(sessions).filter_map(|path| fs::metadata(path).ok()).map(|found| found.atime()).max()
    }
}

fn entries(folder: &Path, is_one: fn(&str) -> bool) -> impl Iterator<Item = PathBuf> + use<> {
    let there = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    there.filter(move |entry| entry.file_name().to_str().is_some_and(is_one)).map(|entry| entry.path())
}

/// What lets tasks in.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    machine: Machine,
    /// What the worker's own jobs were given, in thousandths of a core, averaged as the system averages its load.
    own_millis: f64,
}

impl Gate {
    /// Notes what the worker's own jobs were given for so long.
    pub(crate) fn pass(&mut self, given_millis: u32, passed: Duration) {
        let kept = (-passed.as_secs_f64() / AVERAGE.as_secs_f64()).exp();
        self.own_millis = self.own_millis * kept + f64::from(given_millis) * (1.0 - kept);
    }

    /// Why nothing is let in; `None`: tasks are.
    pub(crate) fn closed(&self, policy: &Policy, stance: Stance, now: Timestamp) -> Option<String> {
        let by_owner = stance.closed().map(str::to_owned);
        by_owner.or_else(|| out_of_hours(policy, now)).or_else(|| {
            let idle = policy.idle.as_ref()?;
            self.in_use(idle, now)
        })
    }

    fn in_use(&self, idle: &Idle, now: Timestamp) -> Option<String> {
        if let Some(load) = self.machine.load_millis() {
            let others = (load - self.own_millis).max(0.0);
            if others > f64::from(idle.load_millis) {
                // Without the number itself, which changes all the time: this is announced.
                let most = idle.load_millis;
                return Some(format!("others load its machine with more than {most} thousandths of a core"));
            }
        }
        let since = now.as_second().saturating_sub(self.machine.last_input_s()?);
        let wanted = idle.input.as_secs();
        let is_recent = u64::try_from(since).unwrap_or(0) < wanted;
        is_recent.then(|| format!("somebody typed on its machine within the last {wanted} s"))
    }
}

fn out_of_hours(policy: &Policy, now: Timestamp) -> Option<String> {
    if policy.schedule.is_empty() {
        return None;
    }
    // The configuration's check has found the zone; a system that loses it since goes by universal time.
    let zone = zone(&policy.zone).unwrap_or(TimeZone::UTC);
    let now = now.to_zoned(zone);
    let day = usize::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(0);
    if policy.schedule.iter().any(|window| window.holds(day, minute)) {
        return None;
    }
    let hours: Vec<String> = policy.schedule.iter().map(ToString::to_string).collect();
    Some(format!("it is outside its hours ({}, {} time)", hours.join("; "), policy.zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn hours_are_those_of_their_zone_in_summer_and_in_winter() {
        let schedule = vec!["mon-fri 20:00-07:00".parse().expect("a window")];
        let policy = Policy { schedule, zone: "Europe/Paris".into(), ..Policy::default() };
        let closed = |now: &str| Gate::default().closed(&policy, Stance::Open, at(now));
        // 2026-07-15 is a Wednesday; Paris is two hours ahead then, and one hour in winter.
        assert_eq!(closed("2026-07-15T18:00:00Z"), None);
        assert!(closed("2026-07-15T17:59:00Z").is_some_and(|why| why.contains("mon,tue,wed,thu,fri 20:00-07:00")));
        assert_eq!(closed("2026-01-14T19:00:00Z"), None);
        assert!(closed("2026-01-14T18:59:00Z").is_some());
        // The night of Friday ends on Saturday.
        assert_eq!(closed("2026-07-18T04:59:00Z"), None);
        assert!(closed("2026-07-18T05:00:00Z").is_some_and(|why| why.contains("Europe/Paris")));
    }

    #[test]
    fn the_owners_hand_comes_before_everything() {
        let gate = Gate::default();
        let now = at("2026-07-15T18:00:00Z");
        assert_eq!(gate.closed(&Policy::default(), Stance::Open, now), None);
        for stance in [Stance::Paused, Stance::Draining] {
            assert_eq!(gate.closed(&Policy::default(), stance, now).as_deref(), stance.closed());
        }
    }

    #[test]
    fn a_machine_is_idle_when_nobody_else_loads_it_or_types() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at_path = |name: &str| folder.path().join(name);
        fs::create_dir_all(at_path("dev/pts")).expect("writable");
        fs::create_dir_all(at_path("proc")).expect("writable");
        let load = |text: &str| fs::write(at_path("proc/loadavg"), text).expect("writable");
        let machine = Machine { proc: at_path("proc"), dev: at_path("dev") };
        let mut gate = Gate { machine, own_millis: 0.0 };
        let idle = Idle { load_millis: 500, input: Duration::from_secs(600) };
        let policy = Policy { idle: Some(idle), ..Policy::default() };
        load("0.49 0.1 0.1 1/100 1\n");
        fs::write(at_path("dev/pts/0"), b"").expect("writable");
        fs::write(at_path("dev/tty"), b"").expect("writable");
        let typed = fs::metadata(at_path("dev/pts/0")).expect("it was made").atime();
        let after = |seconds: i64| Timestamp::from_second(typed + seconds).expect("a time");
        assert_eq!(gate.closed(&policy, Stance::Open, after(600)), None);
        let typing = gate.closed(&policy, Stance::Open, after(599));
        assert!(typing.is_some_and(|why| why.contains("within the last 600 s")));
        load("2.49 0.1 0.1 1/100 1\n");
        let loaded = gate.closed(&policy, Stance::Open, after(600));
        assert!(loaded.is_some_and(|why| why.contains("more than 500 thousandths")));
        // Two cores were the worker's own jobs'.
        (0..60).for_each(|_| gate.pass(2_000, Duration::from_secs(10)));
        assert_eq!(gate.closed(&policy, Stance::Open, after(600)), None);
        // A minute after they ended the average has forgotten most of them, and so has the gate.
        gate.pass(0, Duration::from_secs(60));
        assert!((gate.own_millis - 2_000.0 / std::f64::consts::E).abs() < 1.0);
    }
}
