#include "mail/smtp/network_relay.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "mail/agent/boot_clock.h"
#include "mail/channel/codec.h"
#include "mail/smtp/connection.h"
#include "mail/smtp/connection_limit.h"
#include "mail/smtp/engine.h"
#include "mail/smtp/relay_test.h"
#include "mail/smtp/sendable.h"

namespace mailotp::mail {

namespace {

using core::Stage;

constexpr const char* k_stopping = "the agent stops";

// After a connection that could not be opened, while there are others.
constexpr core::Millis k_first_pause{250};
constexpr core::Millis k_most_pause{4'000};

unsigned notify_of(const std::vector<std::string>& conditions) {
  unsigned sum = 0;
  for (const std::string& condition : conditions) {
    if (condition == "success") sum |= k_notify_success;
    if (condition == "failure") sum |= k_notify_failure;
    if (condition == "delay") sum |= k_notify_delay;
  }
  return sum;
}

class NetworkRelay final : public Relay, private ConnectionOwner {
 public:
  NetworkRelay(core::RelaySettings settings, const core::Hello& hello, uv_loop_t* loop, FactSink& sink,
               const Deadlines& deadlines)
      : settings_(std::move(settings)),
        hostname_(hello.hostname),
        deadlines_(deadlines),
        setting_{loop, settings_, hostname_, notify_of(hello.dsn_notify), deadlines_, sink},
        resolver_(loop, settings_.host, settings_.port, deadlines_),
        limit_(settings_.max_connections),
        waiting_timer_(loop, [this] { expire_waiting(); }),
        sweep_(loop, [this] { sweep(); }),
        grace_(loop, [this] { cut_all("no reply to the dot before the agent stopped"); }) {}

  void submit(core::Job job) override;
  void cancel(const core::AttemptKey& key) override;
  void set_password(core::Secret password) override;
  void test(std::uint32_t test) override;
  void drain(core::Millis grace, std::function<void()> done) override;

 private:
  void on_ready(Connection& connection) override;
  void on_give_back(Task task) override;
  void on_overdue(const OpenFault& fault) override;
  void on_over(Connection& connection, const ConnectionEnd& end) override;

  void pump();
  [[nodiscard]] Connection* idle_connection();
  void open_more();
  [[nodiscard]] bool pausing() const;
  void pause_opening();
  void give_up_a_late_one();
  [[nodiscard]] std::size_t count(Connection::State state) const;
  [[nodiscard]] bool usable() const;
  [[nodiscard]] bool opening() const { return count(Connection::State::opening) > 0; }
  void not_sent(const Task& task, const OpenFault& fault);
  void fail_waiting(const OpenFault& fault);
  void expire_waiting();
  void take_fault(const ConnectionEnd& end);
  void report_down(Stage stage, const OpenFault& fault);
  [[nodiscard]] int working_connections() const;
  void report_up();
  void cut_all(const std::string& why);
  void sweep();
  [[nodiscard]] std::uint64_t now() const { return uv_now(setting_.loop); }

  core::RelaySettings settings_;
  std::string hostname_;
  Deadlines deadlines_;
  ConnectionSetting setting_;
  Resolver resolver_;
  ConnectionLimit limit_;
  Timer waiting_timer_;  // the first of those that wait is late, or the pause is over
  Timer sweep_;
  Timer grace_;
  std::deque<Task> waiting_;
  std::vector<std::unique_ptr<Connection>> connections_;  // none of them over
  std::vector<std::unique_ptr<RelayTest>> tests_;
  // Over, but perhaps still on the stack: destroyed by sweep().
  std::vector<std::unique_ptr<Connection>> retired_;
  std::vector<std::unique_ptr<RelayTest>> retired_tests_;
  std::optional<core::RelayFact> last_fact_;
  OpenFault auth_fault_;
  std::uint64_t refused_until_ = 0;  // AUTH was refused: no connection before this
  std::uint64_t next_open_at_ = 0;   // no further connection before this
  core::Millis pause_{0};            // the last one
  std::function<void()> drained_;
  enum class Draining : std::uint8_t { no, yes } draining_ = Draining::no;
};

// ---- Jobs

void NetworkRelay::submit(core::Job job) {
  const std::uint64_t arrived = now();
  const core::Millis left = std::max(job.time_left, core::Millis{0});
  const core::Millis to_dot = std::min(left, deadlines_.before_dot);
  Task task;
  task.not_after = arrived + static_cast<std::uint64_t>(left.count());
  task.dot_before = arrived + static_cast<std::uint64_t>(to_dot.count());
  task.dot_before_since_boot = since_boot() + to_dot;
  task.job = std::move(job);
  if (draining_ == Draining::yes) return not_sent(task, {Stage::local, k_stopping, {}, {}});
  if (const auto why = why_unsendable(task.job)) return not_sent(task, {Stage::local, *why, {}, {}});
  if (left == core::Millis{0}) return not_sent(task, {Stage::local, "its time has ended", {}, {}});
  if (arrived < refused_until_) return not_sent(task, auth_fault_);
  waiting_.push_back(std::move(task));
  pump();
}

void NetworkRelay::cancel(const core::AttemptKey& key) {
  const std::string why = "canceled";
  const auto waiting =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const Task& task) { return task.job.key == key; });
  if (waiting != waiting_.end()) {
    const Task task = std::move(*waiting);
    waiting_.erase(waiting);
    return not_sent(task, {Stage::local, why, {}, {}});
  }
  const auto holder = std::find_if(connections_.begin(), connections_.end(), [&](const auto& connection) {
    return connection->key() != nullptr && *connection->key() == key;
  });
  if (holder != connections_.end()) (*holder)->cancel(why);
}

void NetworkRelay::set_password(core::Secret password) {
  settings_.password = std::move(password);
  refused_until_ = 0;
}

void NetworkRelay::not_sent(const Task& task, const OpenFault& fault) {
  setting_.sink.report(
      core::JobNotSent{task.job.key, fault.stage, channel::printable(fault.reason), fault.reply});
}

void NetworkRelay::fail_waiting(const OpenFault& fault) {
  for (const Task& task : std::exchange(waiting_, {}))
    not_sent(task, fault);
}

void NetworkRelay::expire_waiting() {
  const std::uint64_t at = now();
  std::deque<Task> kept;
  for (Task& task : std::exchange(waiting_, {})) {
    if (task.dot_before > at)
      kept.push_back(std::move(task));
    else
      // The relay works, and is slow: that is no fault of a session.
      not_sent(task, {Stage::local, "no connection of this relay was free in time", {}, {}});
  }
  waiting_ = std::move(kept);
  pump();
}

void NetworkRelay::pump() {
  while (!waiting_.empty()) {
    Connection* connection = idle_connection();
    if (connection == nullptr) break;
    Task task = std::move(waiting_.front());
    waiting_.pop_front();
    connection->start(std::move(task));
  }
  if (waiting_.empty()) return waiting_timer_.stop();
  open_more();
  if (waiting_.empty()) return;
  const auto first = std::min_element(waiting_.begin(), waiting_.end(), [](const Task& a, const Task& b) {
    return a.dot_before < b.dot_before;
  });
  const std::uint64_t at = now();
  const std::uint64_t next = pausing() ? std::min(first->dot_before, next_open_at_) : first->dot_before;
  waiting_timer_.start(core::Millis{static_cast<core::Millis::rep>(next > at ? next - at : 0)});
}

// ---- Connections

std::size_t NetworkRelay::count(Connection::State state) const {
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(),
                    [state](const auto& connection) { return connection->state() == state; }));
}

bool NetworkRelay::usable() const {
  return count(Connection::State::idle) + count(Connection::State::busy) > 0;
}

Connection* NetworkRelay::idle_connection() {
  // By index: one that turns out to be dead leaves the vector while it is asked.
  for (std::size_t i = connections_.size(); i-- > 0;) {
    Connection* connection = connections_[i].get();
    if (connection->state() == Connection::State::idle && connection->still_idle()) return connection;
    i = std::min(i, connections_.size());
  }
  return nullptr;
}

// One may fail at once, inside open(): then those that wait are gone, or it is a pause.
void NetworkRelay::open_more() {
  while (draining_ == Draining::no && !pausing() && count(Connection::State::opening) < waiting_.size() &&
         static_cast<int>(connections_.size() - count(Connection::State::quitting)) < limit_.now()) {
    give_up_a_late_one();
    ConnectionOwner& owner = *this;
    connections_.push_back(std::make_unique<Connection>(setting_, resolver_, owner));
    connections_.back()->open();
  }
}

// Without another connection there is nothing to wait for: the next job finds out, and those the daemon
// paces.
bool NetworkRelay::pausing() const {
  return now() < next_open_at_ && (usable() || opening());
}

void NetworkRelay::pause_opening() {
  if (now() < next_open_at_) return;  // several failed at once
  pause_ = std::clamp(2 * pause_, k_first_pause, k_most_pause);
  next_open_at_ = now() + static_cast<std::uint64_t>(pause_.count());
}

// One that only waits to see when a late reply comes must not make us exceed what the relay allows.
void NetworkRelay::give_up_a_late_one() {
  if (static_cast<int>(connections_.size()) < settings_.max_connections) return;
  const auto late = std::find_if(connections_.begin(), connections_.end(),
                                 [](const auto& one) { return one->waits_for_late_reply(); });
  if (late != connections_.end()) (*late)->stop_waiting();
}

void NetworkRelay::on_ready(Connection& connection) {
  limit_.succeeded();
  if (connection.is_new()) {
    next_open_at_ = 0;
    pause_ = core::Millis{0};
  }
  report_up();
  pump();
  if (connection.state() == Connection::State::idle && count(Connection::State::idle) > 1)
    connection.is_surplus();
}

void NetworkRelay::on_give_back(Task task) {
  waiting_.push_front(std::move(task));
}

void NetworkRelay::on_overdue(const OpenFault& fault) {
  take_fault({ConnectionEnd::Kind::lost, fault});
  sweep_.start(core::Millis{0});  // its place is free
}

void NetworkRelay::on_over(Connection& connection, const ConnectionEnd& end) {
  const auto here = std::find_if(connections_.begin(), connections_.end(),
                                 [&](const auto& one) { return one.get() == &connection; });
  retired_.push_back(std::move(*here));
  connections_.erase(here);
  sweep_.start(core::Millis{0});
  take_fault(end);
}

void NetworkRelay::take_fault(const ConnectionEnd& end) {
  using Kind = OpenFault::Kind;
  const OpenFault& fault = end.fault;
  const bool open_failed = end.kind == ConnectionEnd::Kind::open_failed;
  const bool one_more_failed = open_failed && fault.kind == Kind::ordinary && usable();
  if (end.kind != ConnectionEnd::Kind::finished &&
      (fault.kind == Kind::closes || fault.kind == Kind::timed_out || fault.kind == Kind::late ||
       one_more_failed))
    limit_.overloaded();
  if (fault.kind == Kind::auth_refused) {
    auth_fault_ = fault;
    refused_until_ = now() + static_cast<std::uint64_t>(deadlines_.auth_refused.count());
    report_down(Stage::auth, fault);
    return fail_waiting(fault);
  }
  // Our own trouble, or a message whose time was short, says nothing of the relay; a session that it broke
  // does, whatever the message was at.
  const bool of_session =
      end.kind != ConnectionEnd::Kind::finished && fault.stage != Stage::local && fault.kind != Kind::late;
  // Of several at once the relay took one, perhaps: too many is no outage.
  const bool one_too_many = fault.kind == Kind::closes && opening();
  if (of_session && !usable() && !one_too_many) {
    limit_.lost();
    report_down(fault.stage, fault);
  }
  // Those that wait have no other hope when a connection could not be opened; one that was lost says little
  // about the next.
  if (!open_failed) return;
  if (usable() || opening()) return pause_opening();
  fail_waiting(fault);
}

int NetworkRelay::working_connections() const {
  return static_cast<int>(count(Connection::State::idle) + count(Connection::State::busy));
}

// News only: each connection says it.
void NetworkRelay::report_up() {
  core::RelayFact fact{settings_.name, core::RelayCondition::up, Stage::local, "", working_connections()};
  if (last_fact_ && last_fact_->condition == fact.condition && last_fact_->connections == fact.connections)
    return;
  last_fact_ = fact;
  setting_.sink.report(std::move(fact));
}

void NetworkRelay::report_down(Stage stage, const OpenFault& fault) {
  last_fact_ = core::RelayFact{settings_.name, core::RelayCondition::down, stage,
                               fault.reason,   working_connections(),      trouble_of(fault)};
  setting_.sink.report(*last_fact_);
}

// ---- Test, drain, end

void NetworkRelay::test(std::uint32_t test) {
  tests_.push_back(std::make_unique<RelayTest>(test, setting_.sink, [this](RelayTest& over, bool ok) {
    if (ok) refused_until_ = 0;  // AUTH was part of it
    const auto here =
        std::find_if(tests_.begin(), tests_.end(), [&](const auto& one) { return one.get() == &over; });
    retired_tests_.push_back(std::move(*here));
    tests_.erase(here);
    sweep_.start(core::Millis{0});
  }));
  RelayTest& running = *tests_.back();
  running.run(setting_.loop, settings_, hostname_, resolver_, deadlines_);
}

void NetworkRelay::drain(core::Millis grace, std::function<void()> done) {
  draining_ = Draining::yes;
  drained_ = std::move(done);
  fail_waiting({Stage::local, k_stopping, {}, {}});
  waiting_timer_.stop();
  for (std::size_t i = connections_.size(); i-- > 0; i = std::min(i, connections_.size()))
    connections_[i]->drain(k_stopping);
  while (!tests_.empty())
    tests_.back()->cut(k_stopping);
  grace_.start(grace);
  sweep_.start(core::Millis{0});
}

void NetworkRelay::cut_all(const std::string& why) {
  while (!connections_.empty())
    connections_.back()->cut(why);
}

void NetworkRelay::sweep() {
  retired_.clear();
  retired_tests_.clear();
  if (last_fact_ && last_fact_->condition == core::RelayCondition::up) report_up();  // fewer connections
  if (draining_ == Draining::no) return pump();
  if (!connections_.empty() || !drained_) return;
  grace_.stop();
  // The last thing that happens here: the relay may be destroyed in it.
  std::exchange(drained_, nullptr)();
}

}  // namespace

std::unique_ptr<Relay> make_network_relay(core::RelaySettings settings, const core::Hello& hello,
                                          uv_loop_t* loop, FactSink& sink, const Deadlines& deadlines) {
  Engine::prove();
  return std::make_unique<NetworkRelay>(std::move(settings), hello, loop, sink, deadlines);
}

}  // namespace mailotp::mail
