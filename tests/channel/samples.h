// Orders and facts with another value in every field, so that a field that is lost or swapped shows.
#pragma once

#include <vector>

#include "core/delivery.h"

namespace mailotp::samples {

inline core::AttemptKey key(std::uint8_t first = 1, std::uint32_t attempt = 7) {
  core::AttemptKey key{{}, attempt};
  for (std::size_t i = 0; i < key.message.bytes.size(); ++i)
    key.message.bytes[i] = static_cast<std::uint8_t>(first + i);
  return key;
}

inline core::Job job(core::AttemptKey key, std::string content = "Subject: hello\r\n\r\nbody\r\n") {
  core::Job job;
  job.key = key;
  job.relay = "primary";
  job.return_path = "bounces+token@example.org";
  job.recipient = "someone@example.net";
  job.envid = "envid-1";
  job.time_left = core::Millis{60'000};
  job.content = core::Secret(std::move(content));
  return job;
}

inline core::RelaySettings relay(std::string name) {
  core::RelaySettings relay;
  relay.name = std::move(name);
  relay.kind = core::RelayKind::smtp;
  relay.directory = "/var/maildir";
  relay.host = "smtp.example.net";
  relay.port = 465;
  relay.tls = core::TlsMode::implicit;
  relay.server_name = "mx.example.net";
  relay.ca_file = "/etc/ssl/own.pem";
  relay.auth = core::AuthMode::xoauth2;
  relay.username = "us\xc3\xa4r";
  relay.password = core::Secret(std::string("pass\0word\xff", 10));
  relay.max_connections = 17;
  return relay;
}

inline core::RelaySettings capture(std::string name, std::string folder) {
  core::RelaySettings relay;
  relay.name = std::move(name);
  relay.kind = core::RelayKind::capture;
  relay.directory = std::move(folder);
  return relay;
}

inline core::Hello hello() {
  core::Hello hello;
  hello.hostname = "mail.example.org";
  hello.dsn_notify = {"failure", "delay"};
  int next = 1;
  for (core::Millis* value :
       {&hello.limits.connect, &hello.limits.greeting, &hello.limits.ehlo, &hello.limits.starttls,
        &hello.limits.auth, &hello.limits.mail, &hello.limits.rcpt, &hello.limits.data, &hello.limits.write,
        &hello.limits.before_dot, &hello.limits.dot, &hello.limits.idle, &hello.limits.session_age})
    *value = core::Millis{next++ * 1'000'000};
  hello.limits.session_messages = 17;
  hello.relays.push_back(relay("one"));
  hello.relays.push_back(capture("two", "/srv/captured"));
  return hello;
}

inline std::vector<core::Order> orders() {
  std::vector<core::Order> all;
  all.emplace_back(hello());
  all.emplace_back(core::Hello{});
  all.emplace_back(job(key()));
  all.emplace_back(job(key(200, 0xffffffff), std::string(70'000, 'x')));
  all.emplace_back(core::Job{});
  all.emplace_back(core::CancelJob{key(9, 3)});
  all.emplace_back(core::SetPassword{"one", core::Secret("hunter2")});
  all.emplace_back(core::TestRelay{41, "two"});
  all.emplace_back(core::Drain{core::Millis{10'000}});
  return all;
}

inline std::vector<core::Fact> facts() {
  const core::Reply reply{250, "2.0.0", "queued as ABC"};
  return {
      core::JobDotNext{key(1, 1)},
      core::JobRelayed{key(2, 2), reply},
      core::JobRefused{key(3, 3), core::Stage::rcpt, {550, "5.1.1", "no such user"}},
      core::JobNotSent{key(4, 4), core::Stage::greeting, "said 421", core::Reply{421, "", "busy"}},
      core::JobNotSent{key(5, 5), core::Stage::dns, "no address", std::nullopt},
      core::JobUncertain{key(6, 0xffffffff), "the connection was lost"},
      core::RelayFact{"one", core::RelayCondition::down, core::Stage::tls, "certificate expired", 3},
      core::RelayFact{"two", core::RelayCondition::up, core::Stage::connect, "", 0},
      core::AgentReady{"0.1.0", 4711, core::Confinement::no_landlock},
      core::AgentLog{"event=something key=value"},
      core::TestStep{42, core::Stage::auth, true, "235 welcome"},
      core::TestDone{43, true},
      core::TestDone{44, false, core::RelayTrouble::auth_refused},
      core::RelayFact{"three", core::RelayCondition::down, core::Stage::starttls, "certificate refused", 0,
                      core::RelayTrouble::certificate},
  };
}

}  // namespace mailotp::samples
