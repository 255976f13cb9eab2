//! The sections `[[check]]`.

use super::*;

const GROUPS: &str = "[[group]]\nname = \"web\"\nvips = [\"10.77.0.100/24\"]\n[[group]]\nname = \"api\"\nvips = [\"10.77.0.101/24\"]\n";

/// The line after the header of the first check, in a file of [`parse_checks`].
const CHECK_LINE: usize = REST_LINE + 7;

fn parse_checks(text: &str) -> Result<Vec<Check>, Failure> {
    parse_with("", &format!("{GROUPS}{text}")).map(|settings| settings.checks)
}

/// The one check of these lines.
fn check(lines: &str) -> Check {
    let mut checks = parse_checks(&format!("[[check]]\n{lines}")).unwrap();
    assert_eq!(checks.len(), 1);
    checks.remove(0)
}

/// Checks that a section of these lines is refused at `line` of it, counted from its header on.
#[track_caller]
fn refuses(lines: &str, line: usize, key: &str, expected: &str) {
    let result = parse_with("", &format!("{GROUPS}[[check]]\n{lines}"));
    let why = refused(result, CHECK_LINE - 1 + line, &format!("check.{key}"));
    assert!(why.contains(expected), "{lines}: {why}");
}

#[test]
fn a_check_of_each_type_needs_little() {
    let cases = [
        ("http", "url = \"http://localhost\"", "http://localhost:80/, 200-399 passes", 2, 3),
        ("tcp", "address = \"[::1]:8080\"", "tcp [::1]:8080", 2, 3),
        ("exec", "run = [\"/bin/well\", \"-q\"]", "exec /bin/well -q", 2, 3),
        ("process", "process = \"haproxy\"", "process haproxy", 1, 1),
        ("interface", "interface = \"eth1\"", "interface eth1", 1, 1),
        ("file", "file = \"/run/ready\"", "file \"/run/ready\"", 1, 1),
    ];
    for (kind, line, shown, rise, fall) in cases {
        let check = check(&format!("name = \"well\"\ntype = \"{kind}\"\n{line}"));
        assert_eq!((check.probe.kind(), check.rise, check.fall), (kind, rise, fall));
        assert_eq!((check.interval, check.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!((&check.scope, check.effect, check.weights()), (&Scope::Node, Effect::Fatal, (0, 0)));
        let text =
            format!("well: {shown}, every 1s, 1s at most, rise {rise}, fall {fall}; fatal for all groups");
        assert_eq!(check.to_string(), text);
    }
}

#[test]
fn what_a_check_says_is_taken() {
    let timing = "interval = \"5ms\"\ntimeout = \"3ms\"\nrise = 4\nfall = 5\n";
    let web = check(&format!(
        "name = \"web\"\ntype = \"http\"\ngroup = \"web\"\n{timing}weight = -253\nurl = \"https://10.0.0.1:8443/up?x=1\"\n\
         host = \"www.example.com\"\nheaders = {{ X-Check = \"yes\" }}\nstatus = \"204, 300-301\"\nbody = \"fine\"\nverify = false"
    ));
    assert_eq!((web.interval, web.timeout), (Duration::from_millis(5), Duration::from_millis(3)));
    assert_eq!((web.rise, web.fall, web.weights()), (4, 5, (0, -253)));
    let Probe::Http(http) = &web.probe else { panic!("{web:?}") };
    assert_eq!(
        (http.url().as_str(), http.host.as_str()),
        ("https://10.0.0.1:8443/up?x=1", "www.example.com")
    );
    assert_eq!(http.headers.get("X-Check").map(String::as_str), Some("yes"));
    let passed = [200, 204, 299, 300, 301, 302].map(|code| http.status.contains(code));
    assert_eq!(passed, [false, true, false, true, true, false]);
    assert_eq!(http.body.as_deref(), Some("fine"));
    let tls = http.tls.as_ref().unwrap();
    assert_eq!((tls.name.to_str().as_ref(), &tls.trust), ("www.example.com", &Trust::Anyone));

    let both = check(
        "name = \"b\"\ntype = \"file\"\nfile = \"/drain\"\nabsent = true\ngroup = [\"api\", \"web\"]\nweight = 20",
    );
    assert_eq!((both.weights(), both.scope.covers("web"), both.scope.covers("db")), ((20, 0), true, false));
    assert!(both.to_string().ends_with("; +20 for api, web"), "{both}");
}

#[test]
fn the_host_of_a_url_is_the_one_that_is_asked_for_unless_another_one_is_named() {
    let host = |url: &str| match check(&format!("name = \"w\"\ntype = \"http\"\nurl = {url:?}")).probe {
        Probe::Http(http) => (http.host, http.target.to_string(), http.path),
        probe => panic!("{probe:?}"),
    };
    let parts = |host: &str, target: &str, path: &str| (host.to_owned(), target.to_owned(), path.to_owned());
    assert_eq!(host("http://a.example"), parts("a.example", "a.example:80", "/"));
    assert_eq!(host("https://a.example/x"), parts("a.example", "a.example:443", "/x"));
    assert_eq!(host("http://[::1]:8080/y?z"), parts("[::1]:8080", "[::1]:8080", "/y?z"));
}

#[test]
fn mistakes_in_a_check_are_told_by_their_place() {
    refuses("type = \"tcp\"", 0, "name", "missing; give the check a name");
    refuses("name = \"x\"", 0, "type", "missing; use \"http\", \"tcp\"");
    refuses("name = \"x\"\ntype = \"ping\"", 2, "type", "\"ping\" is no type of check");
    refuses("name = \"x\"\ntype = \"tcp\"", 0, "address", "missing; write a host and a port");
    let of_another = "belongs to checks of type \"http\"; this is one of type \"tcp\"";
    refuses("name = \"x\"\ntype = \"tcp\"\nurl = \"http://h\"", 3, "url", of_another);
    let tcp = "name = \"x\"\ntype = \"tcp\"\naddress = \"h:1\"\n";
    let cases = [
        ("weight = 254", "weight", "254 is not a whole number from -253 to 253"),
        ("weight = \"-1\"", "weight", "expected a whole number"),
        ("rise = 0", "rise", "0 is not a whole number from 1 to 1000"),
        ("interval = \"999us\"", "interval", "999us is not from 1ms to 1h"),
        ("timeout = \"0s\"", "timeout", "0s is not from 1ms to 10m"),
        ("group = \"db\"", "group", "there is no group \"db\"; there are: web, api"),
        ("group = [\"web\", \"web\"]", "group", "\"web\" is in the list already"),
        ("group = []", "group", "the list is empty"),
        ("groups = [\"web\"]", "groups", "unknown key"),
    ];
    for (line, key, expected) in cases {
        refuses(&format!("{tcp}{line}"), 4, key, expected);
    }
    let exec = "name = \"x\"\ntype = \"exec\"\nrun = \"/bin/x\"\ninterval = \"9ms\"";
    refuses(exec, 4, "interval", "9ms is not from 10ms to 1h");
    refuses("name = \"x\"\ntype = \"process\"\nprocess = \"/bin/x\"", 3, "process", "leave out its folder");
    refuses(
        "name = \"x\"\ntype = \"interface\"\ninterface = \"a b\"",
        3,
        "interface",
        "is no interface name",
    );
    refuses("name = \"x\"\ntype = \"file\"\nfile = \"x\"", 3, "file", "is not an absolute path");
    for address in ["h", "h:", "h:0", "h:65536", "::1:80", "[h]:80", ":80", "a b:80"] {
        refuses(&format!("name = \"x\"\ntype = \"tcp\"\naddress = {address:?}"), 3, "address", "");
    }
}

#[test]
fn mistakes_in_a_url_and_what_belongs_to_it_are_told_by_their_place() {
    for (url, expected) in [
        ("h", "is no URL of http or https"),
        ("ftp://h", "is no URL of http or https"),
        ("http://u:p@h/", "has a user"),
        ("http://h:0/", "0 is no port"),
        ("http://h:70000/", "\"http://h:70000/\""),
        ("http://a b/", "is no URL"),
    ] {
        refuses(&format!("name = \"x\"\ntype = \"http\"\nurl = {url:?}"), 3, "url", expected);
    }
    let http = "name = \"x\"\ntype = \"http\"\nurl = \"http://h\"\n";
    let cases = [
        ("status = 99", "status", "99 is not a whole number from 100 to 599"),
        ("status = \"2xx\"", "status", "\"2xx\" is no list of codes"),
        ("status = \"299-200\"", "status", "is no list of codes"),
        ("body = \"\"", "body", "has 1 to 1024 bytes"),
        ("headers = { \"a b\" = \"c\" }", "headers", "\"a b\" is no name of a header"),
        ("headers = { a = \"c\\n\" }", "headers", "has a character that no header can have"),
        ("headers = { host = \"c\" }", "headers", "has a key of its own"),
        ("host = \"a\\n\"", "host", "is no name of a host"),
        ("verify = false", "verify", "is for URLs of https"),
        ("ca = \"/x\"", "ca", "is for URLs of https"),
    ];
    for (line, key, expected) in cases {
        refuses(&format!("{http}{line}"), 4, key, expected);
    }
    let https = "name = \"x\"\ntype = \"http\"\nurl = \"https://h\"\n";
    refuses(&format!("{https}ca = \"/nowhere/ca.pem\""), 4, "ca", "/nowhere/ca.pem cannot be read");
    refuses(&format!("{https}ca = \"/dev/null\""), 4, "ca", "/dev/null has no certificate in PEM");
    refuses(&format!("{https}ca = \"/dev/null\"\nverify = false"), 4, "ca", "leave out one");
}

#[test]
fn names_of_checks_are_unique_and_there_are_at_most_64() {
    let section = |name: &str| format!("[[check]]\nname = {name:?}\ntype = \"file\"\nfile = \"/x\"\n");
    let twice = parse_with("", &format!("{GROUPS}{0}{0}", section("x")));
    let why = refused(twice, CHECK_LINE + 4, "check.name");
    assert!(why.contains(&format!("another check already (vip.toml:{CHECK_LINE})")), "{why}");
    let many: String = (0..=MAX_CHECKS).map(|number| section(&number.to_string())).collect();
    let why = refused(parse_with("", &format!("{GROUPS}{many}")), CHECK_LINE + 4 * MAX_CHECKS, "check.name");
    assert!(why.contains("64 checks at most"), "{why}");
}
