//! What to try, one command for each thing that is worth seeing.

/// One thing to try.
struct Step {
    /// What it shows; one line.
    shows: &'static str,
    /// A command for a shell, in which `{gateway}` is the gateway's address and each other name in braces one of
    /// [`Demo::names_for`](super::Demo::names_for).
    run: &'static str,
}

/// In the order of a request's way, each layer's steps together.
const STEPS: &[Step] = &[
    // === the gateway itself ===
    Step { shows: "the gateway itself is well", run: "curl -i {gateway}/health" },
    // === ids and addresses ===
    Step {
        shows: "what the origin is told: X-Request-Id, traceparent, X-Forwarded-*, Via",
        run: "curl -s {gateway}/api/echo",
    },
    Step {
        shows: "what a client says of itself is not believed",
        run: "curl -s -H 'X-Forwarded-For: 6.6.6.6' {gateway}/api/echo",
    },
    // === routes ===
    Step { shows: "a request that is proxied, and loses its prefix /api", run: "curl -i {gateway}/api/users/42" },
    Step { shows: "an unknown route is a 404 that says so", run: "curl -i {gateway}/nowhere" },
    Step { shows: "a method that the route does not take is a 405", run: "curl -i -X DELETE {gateway}/api/users/42" },
    Step {
        shows: "a path that could be read in two ways is a 400",
        run: "curl -i --path-as-is {gateway}/api/%2e%2e%2fadmin",
    },
    Step { shows: "an address that is not let in is a 403", run: "curl -i {gateway}/api/admin" },
    // === tokens ===
    Step { shows: "a route with auth is a 401 without a token", run: "curl -i {gateway}/api/me" },
    Step {
        shows: "and a 403 with one that lacks the scope",
        run: "curl -i -H 'Authorization: Bearer {token_without_scope}' {gateway}/api/me",
    },
    Step {
        shows: "with a good one the origin is told who asks, and sees neither the token nor what the client says of itself",
        run: "curl -s -H 'X-User-Id: admin' -H 'Authorization: Bearer {token}' {gateway}/api/me",
    },
    // === limits ===
    Step {
        shows: "the fourth request in a row runs into a limit: 429, Retry-After, and RateLimit on every answer",
        run: "for n in 1 2 3 4; do curl -si {gateway}/api/limited/echo | head -n 20; done",
    },
    // === the cache ===
    Step {
        shows: "a report that takes half a second is made once in ten: X-Cache says MISS, then HIT",
        run: "curl -si {gateway}/api/report; curl -si {gateway}/api/report",
    },
    // === the proxy ===
    Step { shows: "a body streams both ways", run: "head -c 100000 /dev/zero | curl -s -T - {gateway}/api/count" },
    Step { shows: "an origin that takes too long is a 504 after two seconds", run: "curl -i {gateway}/api/slow" },
    Step { shows: "an origin that is down is a 502, and tells nothing of where it was", run: "curl -i {gateway}/down" },
    // === what is done about failures ===
    Step {
        shows: "an origin that is not there for every other request is asked once more, and nobody notices",
        run: "for n in 1 2 3; do curl -si {gateway}/retried/sometimes | head -n 1; done",
    },
    Step {
        shows: "an origin that fails three times in a row is left alone for five seconds: 500, 500, 500, 503",
        run: "for n in 1 2 3 4; do curl -si {gateway}/guarded/fail | head -n 1; done",
    },
    Step { shows: "and the gateway says that not all is well: degraded", run: "curl -s {gateway}/health" },
];

const NEXT: &str = "\
next: copy examples/gateway/gateway.toml, put your own servers in, and run with --config FILE
      then edit that file while the gateway runs: it is read again; --check tells what is wrong with it
stop with Ctrl-C
";

/// The tour, with what stands for the names in braces.
pub(super) fn text(names: &[(&str, String)]) -> String {
    let fill = |command: &str| {
        names.iter().fold(command.to_owned(), |filled, (name, value)| filled.replace(&format!("{{{name}}}"), value))
    };
    let steps: Vec<String> = STEPS.iter().map(|step| format!("  {}\n    {}\n", step.shows, fill(step.run))).collect();
    format!("{}\n{NEXT}", steps.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let names = super::super::Demo::names_for("127.0.0.1:8080".parse().unwrap(), "secret");
        let text = text(&names);
        assert!(!text.contains(['{', '}']), "{text}");
        assert!(text.contains("curl -i http://127.0.0.1:8080/health\n"), "{text}");
    }
}
