//! XtremWeb-HEP's exit codes. It answered almost every failure with 11; here each has the code that its name promises.

use crate::{exit::Exit, hint::Failure};

pub(super) const FATAL: u8 = 1;
pub(super) const ERROR: u8 = 2;
pub(super) const WARNING: u8 = 3;
pub(super) const CONNECTION: u8 = 4;
pub(super) const HANDSHAKE: u8 = 5;
pub(super) const AUTHENTICATION: u8 = 6;
pub(super) const AUTHORIZATION: u8 = 7;
pub(super) const PARSING: u8 = 8;
pub(super) const DISK: u8 = 9;
pub(super) const NOTFOUND: u8 = 11;
pub(super) const WALLCLOCKTIME: u8 = 12;
pub(super) const ABORT: u8 = 129;

/// The code of a failure. 10 (RESTART) told a worker to upgrade itself, which no worker does now.
pub(super) fn code(failure: &Failure) -> u8 {
    match &*failure.code {
        "node-unreachable" | "node-slow" | "service-unreachable" | "no-engine" => return CONNECTION,
        "wrong-chain" | "wrong-market" | "no-contract" | "service-foreign" | "node-answer" => return HANDSHAKE,
        "wrong-password" | "password" | "key" | "keystore" | "bad-sign-in" | "not-signed-in" | "sign-in" => {
            return AUTHENTICATION;
        }
        "not-yours" | "not-owner" => return AUTHORIZATION,
        "file" | "input-kind" | "out" | "blob-too-large" => return DISK,
        "timed-out" => return WALLCLOCKTIME,
        _ => {}
    }
    match failure.exit {
        Exit::Ok => 0,
        Exit::Usage => PARSING,
        Exit::NotFound => NOTFOUND,
        Exit::Refused => AUTHORIZATION,
        Exit::Timeout => WALLCLOCKTIME,
        Exit::Interrupted => ABORT,
        Exit::Error | Exit::Preflight | Exit::Reverted | Exit::TaskFailed => ERROR,
        Exit::Job(code) => code,
    }
}

/// A failure with one of these codes, whatever its kind.
pub(super) fn with(code: u8, name: &str, message: impl Into<String>) -> Failure {
    Failure::new(Exit::Job(code), name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code_of_old() {
        let of = |exit, name: &str| code(&Failure::new(exit, name, ""));
        assert_eq!(of(Exit::Usage, "option"), PARSING);
        assert_eq!(of(Exit::Preflight, "node-unreachable"), CONNECTION);
        assert_eq!(of(Exit::Preflight, "wrong-chain"), HANDSHAKE);
        assert_eq!(of(Exit::Refused, "wrong-password"), AUTHENTICATION);
        assert_eq!(of(Exit::Refused, "not-yours"), AUTHORIZATION);
        assert_eq!(of(Exit::NotFound, "file"), DISK);
        assert_eq!(of(Exit::NotFound, "task-unknown"), NOTFOUND);
        assert_eq!(of(Exit::TaskFailed, "timed-out"), WALLCLOCKTIME);
        assert_eq!(of(Exit::Preflight, "balance-too-small"), ERROR);
        assert_eq!(of(Exit::Interrupted, "detached"), ABORT);
        assert_eq!(code(&with(WARNING, "unfinished", "")), WARNING);
    }
}
