//! How objects are named: `xw://HOST/UID`, or the UID alone. What stands for the host is never asked: where an object is
//! follows from the profile, the chain and the order book.

/// The UID of what was typed.
pub(super) fn uid(text: &str) -> &str {
    let rest = text.strip_prefix("xw://").or_else(|| text.strip_prefix("xws://"));
    rest.map_or(text, |rest| rest.split_once('/').map_or(rest, |(_, uid)| uid))
}

/// The URI of an object that a service knows.
pub(super) fn uri(service: &str, uid: &str) -> String {
    let rest = service.split_once("://").map_or(service, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    format!("xw://{host}/{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_with_and_without_its_host() {
        assert_eq!(uid("xw://127.0.0.1:8300/0xab:1"), "0xab:1");
        assert_eq!(uid("xws://pool.example/0xab"), "0xab");
        assert_eq!(uid("0xab"), "0xab");
        assert_eq!(uid("docker"), "docker");
        assert_eq!(uri("http://127.0.0.1:8300/", "0xab:1"), "xw://127.0.0.1:8300/0xab:1");
        assert_eq!(uid(&uri("https://pool.example", "x")), "x");
    }
}
