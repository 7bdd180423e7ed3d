// Every SQL statement of the store, named. Text only: what they mean is said where they are run.
#pragma once

#include <array>

#include "store/sqlite.h"

namespace mailotp::store {

enum class WriterSql : std::uint8_t {
  begin,
  commit,
  rollback,
  recipient_find,
  recipient_add,
  recipient_forget,
  challenge_by_id,
  challenge_by_n,
  challenge_newest,
  challenge_add,
  challenge_count_attempt,
  challenge_save,
  challenge_save_code,
  challenge_end,
  challenge_note,
  challenge_due,
  challenge_over,
  challenge_remove,
  challenge_forget_message,
  message_by_id,
  message_by_n,
  message_places,
  message_newest,
  message_quarantine,
  message_add,
  message_save,
  message_not_current,
  message_claimable,
  message_due,
  message_sending,
  message_suspect_out,
  message_for_relay,
  message_any_queued,
  message_over,
  message_remove,
  clock_get,
  clock_set,
  shift_challenges,
  shift_messages,
  shift_relay_use,
  shift_relay_use_back,
  relay_suspended,
  relay_suspend,
  relay_used,
  relay_use,
  relay_use_old,
  body_add,
  body_get,
  body_erase,
  event_add,
  event_first,
  event_remove,
  counter_add,
  counter_all,
  next_due,
  once_find,
  once_forget,
  once_add,
  once_first,
  once_remove,
  key_all,
  key_add,
  key_forget,
  key_of_open_challenge,
  key_of_body,
};
inline constexpr std::size_t k_writer_statements = static_cast<std::size_t>(WriterSql::key_of_body) + 1;
extern const std::array<NamedSql, k_writer_statements> k_writer_sql;

enum class ReaderSql : std::uint8_t {
  begin,
  end,
  challenge_by_id,
  message_by_id,
  message_by_n,
  recipient_find,
  outbox_newest,
  outbox_of_state,
  outbox_of_recipient,
  events_of,
  counter_all,
  oldest_of_state,
};
inline constexpr std::size_t k_reader_statements = static_cast<std::size_t>(ReaderSql::oldest_of_state) + 1;
extern const std::array<NamedSql, k_reader_statements> k_reader_sql;

}  // namespace mailotp::store
