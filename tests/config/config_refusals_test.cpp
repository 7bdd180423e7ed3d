// Every way to write the file wrong that we know of, with the place and the words of its refusal.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "daemon/config/config_file.h"
#include "tests/config/accounts_table.h"
#include "tests/config/sample.h"

namespace mailotp::daemon {
namespace {

struct BadTail {
  std::string_view tail;   // appended to the sample: begins on line 8
  std::string_view place;  // "line:column"
  std::string_view says;   // a fragment of the message
};

// clang-format off
const std::vector<BadTail> k_bad_tails{
    // Not TOML.
    {"[daemon]\nmode = \n", "9:8", "not TOML"},
    {"[?daemon]\n", "8:2", "not TOML"},
    {"[[?app]]\n", "8:3", "not TOML"},
    {"\"ä.\".b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1\n", "8:35", "a key has too many parts"},
    {"x = { a.b.c.d.e.f.g . h.i.j.k.l.m.n.o.p.q = 1 }\n", "8:40", "a key has too many parts"},
    {"[a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q]\n", "8:33", "a key has too many parts"},
    {"x = \"................\" # ................\n", "8:1", "unknown key x"},
    {"x = \"\"\"\n\\\"\"\" ................ \"\"\"\n", "8:1", "unknown key x"},
    {"x = '''\n'' ................ '''\n", "8:1", "unknown key x"},
    {"x = [1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0]\n", "8:1", "unknown key x"},
    {"a = f\n", "8:6", "expected 'false', saw 'f\\x0a'"},
    {"[daemon]\nmode = \"production\nlog = \"text\"\n", "9:19", "not TOML"},
    {"[daemon]\napi_mode = 0660\n", "9:16", "not TOML"},
    {"[daemon]\nlog = \"text\"\nlog = \"text\"\n", "10:7", "not TOML"},
    // Unknown keys and tables.
    {"[deamon]\n", "8:2", "unknown key deamon in the file; known here: daemon, mail, relay"},
    {"[daemon]\nstate = \"/x\"\n", "9:1", "unknown key state in [daemon]; known here: mode, state_dir"},
    {"[mail.x]\n", "8:7", "unknown key x in [mail]"},
    {"hots = \"x\"\n", "8:1", "unknown key hots in [[relay]]; known here: name, kind, host"},
    {"[purpose.login]\nlenght = 6\n", "9:1", "unknown key lenght in [purpose.login]"},
    {"[purpose]\nttl = \"10m\"\n", "9:1", "write [purpose.NAME]"},
    {"[limits]\nrecipient = []\n", "9:1", "unknown key recipient in [limits]"},
    {"[delivery]\njitter_percent = 5\n", "9:1", "unknown key jitter_percent in [delivery]"},
    {"[verdict]\nuser-unkown = \"hard\"\n", "9:1", "unknown key user-unkown in [verdict]"},
    {"[[app]]\nname = \"a\"\nuids = [1]\nlimits = {sends = []}\n", "11:11", "unknown key sends in [[app]].limits"},
    {"[retention]\nlogs = \"1d\"\n", "9:1", "unknown key logs in [retention]"},
    {"[brake]\nfactor = 1\n", "9:1", "unknown key factor in [brake]"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nfolder = \"x\"\n", "11:1", "unknown key folder in [bounces]"},
    {"\"a\\u001b[2J\" = 1\n", "8:1", "unknown key a\\x1b[2J"},
    // Secrets.
    {"password = \"hunter2\"\n", "8:1", "put it into a file of mode 0600 and name that file in password_file"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\npassword = \"hunter2\"\n", "11:1", "in password_file"},
    {"[daemon]\nkey = \"00\"\n", "9:1", "key does not belong in this file"},
    // Types.
    {"[daemon]\nmode = 1\n", "9:8", "mode must be one of production, development, not a whole number"},
    {"[daemon]\nstate_dir = true\n", "9:13", "state_dir must be a string in quotes, not a boolean"},
    {"[daemon]\napi_mode = 660\n", "9:12", "api_mode must be a mode in octal digits and quotes, such as \"0660\", not a whole number"},
    {"port = \"587\"\n", "8:8", "port must be a whole number from 1 to 65535, not a string"},
    {"port = 587.0\n", "8:8", "port must be a whole number from 1 to 65535, not a number with a fraction"},
    {"rate = 14\n", "8:8", "rate must be a rate"},
    {"[purpose.login]\nttl = 600\n", "9:7", "ttl must be a duration in whole seconds from 30s to 1d, such as \"10m\""},
    {"[purpose.login]\nttl = 10:00:00\n", "9:7", "not a date or time"},
    {"[limits]\nfold_plus = \"yes\"\n", "9:13", "fold_plus must be true or false, not a string"},
    {"[limits]\nfold_dots_domains = \"gmail.com\"\n", "9:21", "fold_dots_domains must be an array of strings"},
    {"[limits]\nclient_sends = [\"1/1s\", 5]\n", "9:25", "client_sends must be a rate"},
    {"[delivery]\nretry = \"1s\"\n", "9:9", "retry must be an array of 1 to 32 durations"},
    {"[[app]]\nname = \"a\"\nuids = [\"33\"]\n", "10:9", "uids must be an array of whole numbers"},
    {"[[app]]\nname = \"a\"\nusers = [33]\n", "10:10", "users must be an array of strings, not a whole number"},
    {"[app]\nname = \"a\"\n", "8:1", "app must be an array of tables: write [[app]], not a table"},
    {"[[limits]]\n", "8:1", "limits must be a table: write [limits], not an array"},
    {"[purpose.login]\nentropy_floor = \"20\"\n", "9:17", "entropy_floor must be a number from 13 to 60"},
    // Choices.
    {"[daemon]\nmode = \"debug\"\n", "9:8", "mode must be one of production, development, not \"debug\""},
    {"[daemon]\nlog = \"syslog\"\n", "9:7", "one of auto, text, json, journal"},
    {"tls = \"ssl\"\n", "8:7", "one of starttls, implicit, none"},
    {"auth = \"cram-md5\"\n", "8:8", "one of none, auto, plain, login, xoauth2"},
    {"kind = \"file\"\n", "8:8", "one of smtp, capture"},
    {"[purpose.login]\nalphabet = \"hex\"\n", "9:12", "one of digits, crockford32, alphanumeric"},
    {"[purpose.login]\nresend = \"fresh\"\n", "9:10", "one of same, new"},
    {"[delivery]\nuncertain = \"drop\"\n", "9:13", "one of resend, hold"},
    {"[verdict]\nspam = \"warn\"\n", "9:8", "one of hard, soft, alarm, none"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nauth = \"plain\"\n", "11:8", "one of login, xoauth2"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nforeign = \"delete\"\n", "11:11", "one of leave, move"},
    // Ranges.
    {"port = 0\n", "8:8", "from 1 to 65535, not 0"},
    {"port = 65536\n", "8:8", "from 1 to 65535, not 65536"},
    {"max_connections = 0\n", "8:19", "from 1 to 256, not 0"},
    {"max_connections = 257\n", "8:19", "from 1 to 256, not 257"},
    {"priority = -1\n", "8:12", "from 0 to 1000, not -1"},
    {"[purpose.login]\nlength = 3\n", "9:10", "from 4 to 12, not 3"},
    {"[purpose.login]\nlength = 13\n", "9:10", "from 4 to 12, not 13"},
    {"[purpose.login]\nmax_attempts = 0\n", "9:16", "from 1 to 20, not 0"},
    {"[purpose.login]\nmax_sends = 21\n", "9:13", "from 1 to 20, not 21"},
    {"[purpose.login]\nttl = \"29s\"\n", "9:7", "from 30s to 1d"},
    {"[purpose.login]\nttl = \"25h\"\n", "9:7", "not \"25h\""},
    {"[purpose.login]\nttl = \"30500ms\"\n", "9:7", "whole seconds"},
    {"[purpose.login]\ncooldown = \"2h\"\n", "9:12", "from 0s to 1h"},
    {"[purpose.login]\nentropy_floor = 12.9\n", "9:17", "from 13 to 60"},
    {"[purpose.login]\nentropy_floor = nan\n", "9:17", "from 13 to 60"},
    {"[brake]\nratio = 0\n", "9:9", "from 1 to 1000000"},
    {"[brake]\nperiod = \"1s\"\n", "9:10", "from 10s to 1d"},
    {"[delivery]\nconnect_timeout = \"1ms\"\n", "9:19", "from 10ms to 10m, such as \"4s\" (units ms, s, m, h, d), not \"1ms\""},
    {"[delivery]\ndot_timeout = \"11m\"\n", "9:15", "from 10ms to 10m"},
    {"[delivery]\ndot_timeout = 60\n", "9:15", "dot_timeout must be a duration"},
    {"[delivery]\nsession_messages = 0\n", "9:20", "from 1 to 100000"},
    {"[delivery]\njitter = 51\n", "9:10", "from 0 to 50"},
    {"[delivery]\nbreaker_failures = 0\n", "9:20", "from 1 to 100"},
    {"[delivery]\nprobe = \"2h\"\n", "9:9", "from 10ms to 1h"},
    {"[delivery]\nbreaker_most = \"1s\"\nbreaker_first = \"2s\"\n", "10:17", "must not be longer than breaker_most"},
    {"[delivery]\nmin_free_disk = \"64\"\n", "9:17", "must be a size, such as \"64MiB\""},
    {"[delivery]\nmax_open_messages = 0\n", "9:21", "max_open_messages must be"},
    {"[delivery]\nretry = []\n", "9:9", "1 to 32 durations"},
    {"[delivery]\ngreylist = [\"1s\", \"2d\"]\n", "9:19", "not \"2d\""},
    {"[[app]]\nname = \"a\"\nuids = [4294967295]\n", "10:9", "not 4294967295"},
    // Small grammars.
    {"[purpose.login]\nttl = \"10 m\"\n", "9:7", "not \"10 m\""},
    {"[purpose.login]\nttl = \"-1m\"\n", "9:7", "not \"-1m\""},
    {"[purpose.login]\nttl = \"1h30m\"\n", "9:7", "not \"1h30m\""},
    {"rate = \"14\"\n", "8:8", "such as \"3/15m\" (units s, m, h, d), or \"\", not \"14\""},
    {"rate = \"0/1s\"\n", "8:8", "not \"0/1s\""},
    {"quota = \"500/500ms\"\n", "8:9", "not \"500/500ms\""},
    {"quota = \"5/0s\"\n", "8:9", "not \"5/0s\""},
    {"[daemon]\napi_mode = \"0680\"\n", "9:12", "api_mode must be a mode in octal digits"},
    {"[daemon]\nadmin_mode = \"1777\"\n", "9:14", "admin_mode must be a mode in octal digits"},
    {"[daemon]\napi_mode = \"60\"\n", "9:12", "api_mode must be a mode in octal digits"},
    // Paths, names, hosts, addresses.
    {"[daemon]\nstate_dir = \"state\"\n", "9:13", "state_dir must be an absolute path"},
    {"[daemon]\nkey_file = \"\"\n", "9:12", "key_file must be an absolute path"},
    {"[daemon]\napi_socket = \"api.sock\"\n", "9:14", "api_socket must be an absolute path"},
    {"[daemon]\napi_group = \"no group\"\n", "9:13", "api_group must be the name of an account"},
    {"ca_file = \"ca.pem\"\n", "8:11", "ca_file must be an absolute path"},
    {"username = \"a\\nb\"\n", "8:12", "username must not contain control characters or line breaks"},
    {"server_name = \"a b\"\n", "8:15", "server_name must be a host name"},
    {"server_name = \"smtp.example.net.\"\n", "8:15", "server_name must be a host name"},
    {"server_name = \"999.1.1.1\"\n", "8:15", "server_name must be a host name"},
    {"[purpose.Login]\n", "8:10", "the name of a purpose must be 1 to 32 characters"},
    {"[purpose.login]\ntemplate = \"../etc\"\n", "9:12", "template must be 1 to 32 characters"},
    {"[[app]]\nname = \"\"\nuids = [1]\n", "9:8", "name must be 1 to 32 characters"},
    {"[[app]]\nname = \"a\"\nuids = [1]\nfrom = \"no address\"\n", "11:8", "from must be a mail address"},
    {"[[app]]\nname = \"a\"\nuids = [1]\ndomain = \"-x.example\"\n", "11:10", "domain must be a host name"},
    {"[[app]]\nname = \"a\"\nusers = [\"x\", \"x\"]\n", "10:15", "users names \"x\" twice"},
    {"[limits]\nfold_dots_domains = [\"gmail.com\", \"\"]\n", "9:35", "fold_dots_domains (each entry) must be a host name"},
    // Rules between keys.
    {"kind = \"capture\"\ndirectory = \"/tmp/x\"\n", "8:8", "for daemon.mode = \"development\" only"},
    {"directory = \"/tmp/x\"\n", "8:13", "directory is for kind = \"capture\" only"},
    {"kind = \"capture\"\n", "5:1", "[[relay]] needs the key directory"},
    {"[daemon]\nmode = \"development\"\n", "9:8", "needs exactly one [[relay]], with kind = \"capture\" and a directory; here are 1, 0 of kind capture"},
    {"tls = \"none\"\n", "8:7", "tls \"none\" is for a host on the loopback"},
    {"auth = \"plain\"\n", "8:8", "auth plain, login and xoauth2 need a username"},
    {"auth = \"xoauth2\"\nusername = \"\"\n", "8:8", "auth plain, login and xoauth2 need a username"},
    {"[[relay]]\nname = \"primary\"\nhost = \"b.example\"\n", "9:8", "two relays are named \"primary\""},
    {"[[relay]]\nhost = \"b.example\"\n", "8:1", "[[relay]] needs the key name"},
    {"[[relay]]\nname = \"b\"\n", "8:1", "[[relay]] needs the key host"},
    {"[[relay]]\nname = \"B\"\nhost = \"b.example\"\n", "9:8", "name must be 1 to 32 characters of a-z, 0-9 and hyphen"},
    {"[bounces]\nusername = \"u\"\n", "8:1", "[bounces] needs the key host, such as host = \"imap.example.net\""},
    {"[bounces]\nhost = \"i.example\"\n", "8:1", "[bounces] needs the key username"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\ntls = \"none\"\n", "11:7", "tls \"none\" is for a host on the loopback"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nprocessed = \"INBOX\"\n", "8:1", "must be other folders than mailbox"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nprocessed = \"Inbox\"\n", "8:1", "must be other folders than mailbox"},
    {"[bounces]\nhost = \"i.example\"\nusername = \"u\"\nprocessed = \"a\"\nunrecognised = \"a\"\n", "11:13", "must be different folders"},
    {"[purpose.login]\nttl = \"60s\"\n", "9:7", "usable_minimum (1m) must be less than ttl (1m)"},
    {"[purpose.login]\nusable_minimum = \"10m\"\n", "9:18", "usable_minimum (10m) must be less than ttl (10m)"},
    {"[purpose.login]\nlength = 5\n", "9:10", "length 5 with alphabet digits is too easy to guess"},
    {"[purpose.pay]\nentropy_floor = 30\nalphabet = \"digits\"\n", "10:12", "length 6 with alphabet digits is too easy to guess"},
    {"[[app]]\nname = \"a\"\n", "8:1", "app \"a\" would match nobody"},
    {"[[app]]\nname = \"a\"\nuids = [1]\n[[app]]\nname = \"a\"\nuids = [2]\n", "12:8", "two apps are named \"a\""},
    {"[[app]]\nname = \"a\"\nuids = [1]\n[[app]]\nname = \"b\"\nuids = [1]\n", "13:9", "\"1\" belongs to app \"a\" already"},
    {"[daemon]\nadmin_socket = \"/run/mailotpd/api.sock\"\n", "9:16", "is daemon.api_socket as well"},
};
// clang-format on

std::string refusal_of(const std::string& text) {
  const auto loaded = parse_config(text, "m.toml");
  return loaded ? std::string() : loaded.error().what;
}

TEST_CASE("config: each mistake is refused at its place, with what is allowed") {
  for (const BadTail& bad : k_bad_tails) {
    CAPTURE(bad.tail);
    const std::string what = refusal_of(sample_with(bad.tail));
    CAPTURE(what);
    // One mistake, one line.
    CHECK(std::count(what.begin(), what.end(), '\n') == 0);
    CHECK(what.starts_with("m.toml:" + std::string(bad.place) + ": "));
    CHECK(what.find(bad.says) != std::string::npos);
    CHECK(what.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("config: a missing [mail] and [[relay]]") {
  CHECK(refusal_of("") ==
        "m.toml:1:1: [mail] needs the key from, such as from = \"Example <no-reply@example.org>\"\n"
        "m.toml:1:1: [mail] needs the key bounce_address, such as bounce_address = \"bounces@example.org\"\n"
        "m.toml:1:1: [mail] needs the key hostname, such as hostname = \"otp.example.org\"");
  CHECK(refusal_of("\n[mail]\nfrom = \"a@example.org\"\nbounce_address = \"b@example.org\"\n") ==
        "m.toml:2:1: [mail] needs the key hostname, such as hostname = \"otp.example.org\"");
  CHECK(refusal_of("[mail]\nfrom = \"a@example.org\"\nbounce_address = \"b@example.org\"\nhostname = "
                   "\"h.example\"\n") == "m.toml:1:1: at least one [[relay]] is needed, with name and host");
}

TEST_CASE("config: bad mail addresses and hosts of [mail]") {
  const auto with = [](std::string_view from, std::string_view bounce, std::string_view hostname) {
    return refusal_of("[mail]\nfrom = \"" + std::string(from) + "\"\nbounce_address = \"" +
                      std::string(bounce) + "\"\nhostname = \"" + std::string(hostname) +
                      "\"\n[[relay]]\nname=\"r\"\nhost=\"h.example\"\n");
  };
  CHECK(with("a@example.org", "b@example.org", "h.example").empty());
  CHECK(with("", "b@example.org", "h.example").starts_with("m.toml:2:8: from "));
  CHECK(with("x", "b@example.org", "h.example").starts_with("m.toml:2:8: from must be a mail address"));
  CHECK(with("a@example.org", "Name <b@example.org>", "h.example")
            .starts_with("m.toml:3:18: bounce_address must be"));
  CHECK(with("a@example.org", "b@example.org", "h_x.example")
            .starts_with("m.toml:4:12: hostname must be a host name"));
  CHECK(with("a@example.org", "b@example.org", "").starts_with("m.toml:4:12: hostname must be a host name"));
  CHECK(with("a@exa\\r\\nmple.org", "b@example.org", "h.example")
            .starts_with("m.toml:2:8: from must be a mail address"));
}

TEST_CASE("config: a token has room in the return path, which has 64 octets before its @") {
  const auto with = [](const std::string& local, std::string_view verp) {
    return refusal_of("[mail]\nfrom = \"a@example.org\"\nbounce_address = '" + local +
                      "@example.org'\nhostname = \"h.example\"\nverp = \"" + std::string(verp) +
                      "\"\n[[relay]]\nname=\"r\"\nhost=\"h.example\"\n");
  };
  const auto of = [](std::size_t size) { return std::string(size, 'b'); };
  CHECK(with(of(30), "recipient").empty());
  CHECK(with(of(31), "recipient") ==
        "m.toml:3:18: what stands before the @ has 31 characters: with verp = \"recipient\" a token is added "
        "to it, which leaves room for 30");
  CHECK(with(of(20), "message").empty());
  CHECK(with(of(21), "message")
            .ends_with("verp = \"message\" a token is added to it, which leaves room for 20"));
  CHECK(with(of(64), "off").empty());
  CHECK(with("\"b c\"", "recipient").starts_with("m.toml:3:18: a quoted local part takes no token"));
  CHECK(with("\"b c\"", "off").empty());
}

TEST_CASE("config: the bounce mailbox is looked at once a second to once an hour") {
  const auto with = [](std::string_view poll) {
    return refusal_of(sample_with("[bounces]\nhost = \"imap.example.net\"\nusername = \"b\"\npoll = \"" +
                                  std::string(poll) + "\"\n"));
  };
  CHECK(with("1s").empty());
  CHECK(with("1h").empty());
  CHECK(with("0s").find("poll must be a duration in whole seconds from 1s to 1h") != std::string::npos);
  CHECK(with("61m").find("poll must be a duration in whole seconds from 1s to 1h") != std::string::npos);
}

TEST_CASE("config: a dsn condition that no relay knows, or twice") {
  const auto with = [](std::string_view dsn) {
    return refusal_of("[mail]\ndsn = " + std::string(dsn) +
                      "\nfrom = \"a@example.org\"\nbounce_address = \"b@example.org\"\n"
                      "hostname = \"h.example\"\n[[relay]]\nname=\"r\"\nhost=\"h.example\"\n");
  };
  CHECK(with("[\"never\"]") == "m.toml:2:8: dsn (each entry) must be one of failure, delay, success");
  CHECK(with("[\"delay\", \"delay\"]") == "m.toml:2:17: dsn names \"delay\" twice");
  CHECK(with("[]").empty());
}

TEST_CASE("config: a socket path has at most 107 bytes") {
  const std::string fits = "/" + std::string(106, 's');
  CHECK(refusal_of(sample_with("[daemon]\napi_socket = \"" + fits + "\"\n")).empty());
  CHECK(refusal_of(sample_with("[daemon]\napi_socket = \"" + fits + "s\"\n")) ==
        "m.toml:9:14: api_socket must be at most 107 bytes, the limit of a Unix socket, not 108");
}

TEST_CASE("config: all mistakes are listed, in the order of the file, at most twenty") {
  CHECK(refusal_of(sample_with("port = 0\nx = 1\n[daemon]\nmode = \"x\"\n")) ==
        "m.toml:8:8: port must be a whole number from 1 to 65535, not 0\n"
        "m.toml:9:1: unknown key x in [[relay]]; known here: name, kind, host, port, tls, server_name, "
        "ca_file, auth, "
        "username, password_file, max_connections, priority, rate, quota, directory\n"
        "m.toml:11:8: mode must be one of production, development, not \"x\"");
  std::string tail = "[brake]\n";
  for (int i = 0; i < 30; ++i)
    tail += "k" + std::to_string(i) + " = 1\n";
  const std::string what = refusal_of(sample_with(tail));
  CHECK(std::count(what.begin(), what.end(), '\n') == 19);
  CHECK(what.find("m.toml:28:1: unknown key k19") != std::string::npos);
}

TEST_CASE("config: a long or hostile value is shown short and without control characters") {
  const std::string what =
      refusal_of(sample_with("[daemon]\nmode = \"\\u001b]0;" + std::string(500, 'a') + "\"\n"));
  CHECK(what.find("not \"\\x1b]0;" + std::string(36, 'a') + "…\"") != std::string::npos);
  CHECK(what.find('\x1b') == std::string::npos);
}

TEST_CASE("config: columns count characters, not bytes") {
  CHECK(refusal_of(sample_with("[[app]]\nname = \"a\"\nfrom = \"Ää <a@example.org>\"\nusers = [\"ä\", 1]\n"))
            .starts_with("m.toml:11:10: users"));
  const std::string what =
      refusal_of(sample_with("[[app]]\nname = \"a\"\nuids = [1]\nlimits = {\"äöü\" = 1, b = 2}\n"));
  CHECK(what.find("m.toml:11:11: unknown key äöü") != std::string::npos);
  CHECK(what.find("m.toml:11:22: unknown key b") != std::string::npos);
}

TEST_CASE("config: the code of a refusal says whether the file is TOML at all") {
  CHECK(parse_config("x = ", "m.toml").error().code == core::Errc::malformed);
  CHECK(parse_config("x = 1", "m.toml").error().code == core::Errc::invalid);
  CHECK(load_config("/nonexistent/m.toml", small_machine()).error().code == core::Errc::not_found);
  CHECK(load_config("/nonexistent/m.toml", small_machine()).error().what ==
        "/nonexistent/m.toml: cannot read the configuration: No such file or directory");
  CHECK(load_config("/", small_machine()).error().code == core::Errc::io);
}

}  // namespace
}  // namespace mailotp::daemon
