// A loop with a supervisor on it, and a record of all that it told its listener and its log. Every wait has a
// bound; no content ever may be in the log.
#pragma once

#include <csignal>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>
#include <uv.h>

#include "daemon/agents/supervisor.h"
#include "tests/channel/samples.h"
#include "tests/channel/temporary_folder.h"

namespace mailotp::testing {

inline constexpr const char* k_content = "Subject: x\r\n\r\nthe code is 123456\r\n";

class LogLines final : public core::Log {
 public:
  void write(core::LogLevel, std::string_view line) override { lines.emplace_back(line); }
  [[nodiscard]] std::size_t count(std::string_view part) const {
    std::size_t found = 0;
    for (const std::string& line : lines)
      if (line.find(part) != std::string::npos) ++found;
    return found;
  }
  std::vector<std::string> lines;
};

class Supervised final : public daemon::AgentListener {
 public:
  // `script`: of the scripted agent; empty: the real one.
  explicit Supervised(const std::string& script) {
    REQUIRE(uv_loop_init(&loop) == 0);
    options.name = "smtp";
    options.program = script.empty() ? AGENT_PROGRAM : SCRIPTED_AGENT;
    options.lock_path = folder / "agent.lock";
    if (!script.empty()) options.environment = {"SCRIPT=" + script};
    options.backoff_first = core::Millis{10};
    options.backoff_most = core::Millis{100};
  }
  ~Supervised() override {
    if (agent) {
      stop();
      agent.reset();
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    CHECK(log.count("123456") == 0);
    CHECK(log.count("hunter2") == 0);
  }
  Supervised(const Supervised&) = delete;
  Supervised& operator=(const Supervised&) = delete;

  void start() {
    if (!agent)
      agent.emplace(
          &loop, options, [this] { return hello(); }, *this, log);
    agent->start();
  }
  void start_and_wait() {
    start();
    run_until([this] { return agent->ready(); });
  }
  void stop() {
    bool done = false;
    agent->stop_now([&done] { done = true; });
    run_until([&done] { return done; });
  }
  void drain(core::Millis grace) {
    bool done = false;
    agent->drain(grace, [&done] { done = true; });
    run_until([&done] { return done; });
  }
  [[nodiscard]] core::Hello hello() const {
    core::Hello hello;
    hello.hostname = "mail.example.org";
    hello.relays.push_back(samples::capture("primary", maildir));
    hello.relays.back().password = core::Secret("hunter2");
    return hello;
  }
  void submit(const core::AttemptKey& key, const std::string& recipient = "a@example.net") {
    core::Job job = samples::job(key, k_content);
    job.recipient = recipient;
    agent->submit(std::move(job));
  }
  void kill_agent(int signal) const { REQUIRE(::kill(last_pid(), signal) == 0); }
  [[nodiscard]] pid_t last_pid() const {
    REQUIRE_FALSE(readies.empty());
    return static_cast<pid_t>(readies.back().pid);
  }

  template <class Condition>
  void run_until(Condition condition) {
    bool late = false;
    uv_timer_t bound;
    REQUIRE(uv_timer_init(&loop, &bound) == 0);
    bound.data = &late;
    REQUIRE(uv_timer_start(
                &bound, [](uv_timer_t* timer) { *static_cast<bool*>(timer->data) = true; }, 30'000, 0) == 0);
    while (!condition() && !late)
      (void)uv_run(&loop, UV_RUN_ONCE);
    bool closed = false;
    bound.data = &closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&bound),
             [](uv_handle_t* timer) { *static_cast<bool*>(timer->data) = true; });
    while (!closed)
      (void)uv_run(&loop, UV_RUN_NOWAIT);
    for (const std::string& line : log.lines)
      UNSCOPED_INFO(line);
    REQUIRE_FALSE(late);
  }
  void run_until_facts(std::size_t count) {
    run_until([this, count] { return facts.size() >= count; });
  }
  template <class T>
  [[nodiscard]] std::vector<T> facts_of() const {
    std::vector<T> some;
    for (const core::Fact& fact : facts)
      if (const T* one = std::get_if<T>(&fact)) some.push_back(*one);
    return some;
  }

  void on_ready(const core::AgentReady& ready) override {
    CHECK(lost.size() >= readies.size());  // whatever came before is settled
    readies.push_back(ready);
  }
  void on_fact(core::Fact fact) override { facts.push_back(std::move(fact)); }
  void on_lost(std::vector<daemon::LostJob> jobs) override { lost.push_back(std::move(jobs)); }

  TemporaryFolder folder;
  std::string maildir = folder.maildir("captured");
  LogLines log;
  uv_loop_t loop{};
  daemon::AgentOptions options;
  std::optional<daemon::AgentSupervisor> agent;
  std::vector<core::AgentReady> readies;
  std::vector<core::Fact> facts;
  std::vector<std::vector<daemon::LostJob>> lost;
};

}  // namespace mailotp::testing
