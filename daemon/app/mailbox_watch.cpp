#include "daemon/app/mailbox_watch.h"

#include <utility>
#include <variant>

#include <fmt/format.h>

#include "core/crash_point.h"
#include "daemon/app/log_line.h"
#include "daemon/state/clock.h"

namespace mailotp::daemon {

namespace {

constexpr int k_deaths_of_poison = 2;
constexpr std::size_t k_deaths_kept = 1000;  // mails; more of them mean that no mail is why

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string_view name_of(core::RelayTrouble trouble) {
  switch (trouble) {
    case core::RelayTrouble::ordinary:
      return "ordinary";
    case core::RelayTrouble::auth_refused:
      return "auth_refused";
    case core::RelayTrouble::certificate:
      return "certificate";
  }
  return "";
}

}  // namespace

// ---- Whether it works

void MailboxWatch::on_mailbox_ready(const core::AgentReady& ready) {
  health_.agent_is("imap", condition_of(ready));
  if (ready.confinement != core::Confinement::full)
    log_.write(core::LogLevel::warning,
               "event=agent_unconfined agent=imap reason=\"the kernel has no Landlock\"");
}

void MailboxWatch::take(const core::MailboxFact& fact) {
  if (!fact.up) {
    note_down(fact.step, fact.reason, fact.trouble);
    if (fact.trouble == core::RelayTrouble::auth_refused) links_.look_at_password();
    return;
  }
  health_.mailbox_is(MailboxCondition::up);
  if (std::exchange(last_, "up") != "up") log_.write(core::LogLevel::notice, "event=mailbox_up");
}

// The same trouble again is no news. What only an operator can put right is an error.
void MailboxWatch::note_down(const std::string& step, const std::string& reason, core::RelayTrouble trouble) {
  health_.mailbox_failed({step, reason, std::string(name_of(trouble)), wall_now()});
  std::string now = fmt::format("down {} {}", step, name_of(trouble));
  if (std::exchange(last_, now) == now) return;
  log_.write(trouble == core::RelayTrouble::ordinary ? core::LogLevel::warning : core::LogLevel::error,
             fmt::format("event=mailbox_down step=\"{}\" trouble={} reason=\"{}\"", quotable(step),
                         name_of(trouble), quotable(reason)));
}

void MailboxWatch::note_foreign(std::uint64_t count) {
  foreign_ = count;
  health_.foreign_mails_are(count);
  const bool many = count > k_foreign_told;
  if (many && !foreign_told_)
    log_.write(core::LogLevel::warning,
               fmt::format("event=mailbox_foreign count={} reason=\"mails that answer none of ours: is this "
                           "somebody's own mailbox? they are left as they are\"",
                           count));
  foreign_told_ = many;
}

// ---- Opening

void MailboxWatch::take(const core::MailboxOpened& opened) {
  uidvalidity_ = opened.uidvalidity;
  ++opening_;
  ordered_.clear();
  waiting_moves_.clear();
  std::erase_if(poison_, [this](const core::MailUid& mail) { return mail.uidvalidity != uidvalidity_; });
  std::erase_if(deaths_, [this](const auto& death) { return death.first.uidvalidity != uidvalidity_; });
  if (!asking_) ask_state();
}

// One at a time, however often the mailbox is opened while the disk is full.
void MailboxWatch::ask_state() {
  asking_ = true;
  const core::OpenMailbox command{.at = wall_now(), .uidvalidity = uidvalidity_};
  links_.record(command, [this, asked = opening_](const core::Outcome& outcome) {
    asking_ = false;
    if (asked != opening_ && outcome) return ask_state();
    const auto* state = outcome ? std::get_if<core::MailboxState>(&*outcome) : nullptr;
    if (state != nullptr) return resume(*state);
    note_down("store", outcome ? "it gave another answer" : outcome.error().what,
              core::RelayTrouble::ordinary);
  });
}

void MailboxWatch::resume(const core::MailboxState& state) {
  core::MailboxResume order{
      .uidvalidity = uidvalidity_, .after_uid = state.after_uid, .moves = {}, .poison = {}};
  for (const core::MailToMove& move : state.moves) {
    if (order.moves.size() >= core::k_mails_a_fact) break;
    order.moves.push_back(move);
    ordered_.insert(move.uid);
  }
  for (const core::MailUid& mail : poison_) {
    order.poison.push_back(mail.uid);
    ordered_.insert(mail.uid);
  }
  note_foreign(state.foreign);
  links_.resume(std::move(order));
}

// ---- Mails

void MailboxWatch::on_mailbox_event(core::MailboxEvent event) {
  std::visit(Overloaded{
                 [this](const core::MailboxFact& fact) { take(fact); },
                 [this](const core::MailboxOpened& opened) { take(opened); },
                 [this](core::MailRead& read) { take(std::move(read)); },
                 [this](core::MailMoved& moved) { take(std::move(moved)); },
                 [](const core::MailNext&) {},  // remembered by the supervisor, in case the agent dies
                 [](const core::AgentReady&) {},
                 [](const core::AgentLog&) {},
             },
             event);
}

void MailboxWatch::take(core::MailRead read) {
  const core::MailUid mail = read.mail;
  deaths_.erase(mail);
  links_.record(core::RecordMail{.at = wall_now(), .mail = std::move(read)},
                [this, mail](const core::Outcome& outcome) { decide(mail, outcome); });
}

// One that cannot be recorded stays where it is and is read again when the mailbox is opened the next time.
void MailboxWatch::decide(const core::MailUid& mail, const core::Outcome& outcome) {
  const auto* filed = outcome ? std::get_if<core::MailFiled>(&*outcome) : nullptr;
  if (filed == nullptr) {
    log_.write(core::LogLevel::error,
               fmt::format("event=mail_not_recorded uidvalidity={} uid={} what=\"{}\"", mail.uidvalidity,
                           mail.uid, outcome ? "another answer" : quotable(outcome.error().what)));
    return links_.decide({mail, core::MailFate::leave});
  }
  MAILOTP_CRASH_POINT("mail_recorded");
  if (mail.uidvalidity == uidvalidity_) {
    if (filed->fate == core::MailFate::leave)
      note_foreign(foreign_ + 1);
    else
      ordered_.insert(mail.uid);
  }
  links_.decide({mail, filed->fate});
}

// Only what it was told to move, so that an agent gone wrong cannot keep the store busy.
void MailboxWatch::take(core::MailMoved moved) {
  const std::uint32_t uidvalidity = moved.uidvalidity;
  if (uidvalidity != uidvalidity_) return;
  std::erase_if(moved.uids, [this](std::uint32_t uid) { return ordered_.erase(uid) == 0; });
  if (moved.uids.empty()) return;
  for (const std::uint32_t uid : moved.uids)
    poison_.erase({uidvalidity, uid});
  links_.record(core::RecordMoved{.at = wall_now(), .moved = std::move(moved)},
                [this, uidvalidity](const core::Outcome& outcome) {
                  const auto* state = outcome ? std::get_if<core::MailboxState>(&*outcome) : nullptr;
                  // Else they are found again, and gone, when the mailbox is opened the next time.
                  if (state == nullptr || uidvalidity != uidvalidity_ || asking_) return;
                  waiting_moves_.insert(waiting_moves_.end(), state->moves.begin(), state->moves.end());
                  move_waiting();
                });
  move_waiting();
}

// The store gives each out once; the agent is to have so many at a time.
void MailboxWatch::move_waiting() {
  while (!waiting_moves_.empty() && ordered_.size() < core::k_mails_a_fact) {
    const core::MailToMove move = waiting_moves_.front();
    waiting_moves_.pop_front();
    if (ordered_.insert(move.uid).second) links_.move({{uidvalidity_, move.uid}, move.fate});
  }
}

// ---- The agent's end

void MailboxWatch::on_mailbox_lost(std::optional<core::MailUid> reading) {
  health_.agent_is("imap", AgentCondition::down);
  if (stopping_) return;
  note_down("agent", "it is gone", core::RelayTrouble::ordinary);
  if (reading) note_death(*reading);
}

void MailboxWatch::note_death(const core::MailUid& mail) {
  if (deaths_.size() >= k_deaths_kept) deaths_.clear();
  if (++deaths_[mail] < k_deaths_of_poison) return;
  deaths_.erase(mail);
  if (poison_.size() >= core::k_mails_a_fact) return;
  poison_.insert(mail);
  log_.write(core::LogLevel::error,
             fmt::format("event=mail_poison uidvalidity={} uid={} reason=\"the agent died of it twice; it "
                         "is moved unread\"",
                         mail.uidvalidity, mail.uid));
  links_.record(core::RecordPoison{.at = wall_now(), .mail = mail},
                [this, mail](const core::Outcome& outcome) {
                  if (!outcome)
                    log_.write(core::LogLevel::error,
                               fmt::format("event=mail_not_recorded uidvalidity={} uid={} what=\"{}\"",
                                           mail.uidvalidity, mail.uid, quotable(outcome.error().what)));
                });
}

}  // namespace mailotp::daemon
