// The connection while its answer is a stream.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/check.h"
#include "daemon/http/connection.h"

namespace mailotp::daemon {
namespace {

constexpr std::string_view k_chunked = "Transfer-Encoding: chunked\r\n";
constexpr std::string_view k_last_chunk = "0\r\n\r\n";

}  // namespace

void Connection::start_stream(const StreamHead& head) {
  if (!can_be_sent(head)) {
    respond(HttpResponse{head.status, head.content_type, {}, head.headers});
    return;
  }
  streaming_ = true;
  chunked_ = chunks_understood_ && !head.length;
  body_left_ = head.length;
  std::string framing(chunked_ ? k_chunked : "");
  if (head.length) framing = fmt::format("Content-Length: {}\r\n", *head.length);
  const auto field = keep_alive_ ? ConnectionField::absent : ConnectionField::close;
  send(serialize_head(head, framing, exchange_->request_id, field));
}

bool Connection::write_chunk(std::string bytes) {
  if (chunk_unsent_) return false;
  chunk_unsent_ = true;
  if (body_left_) {
    CHECK(bytes.size() <= *body_left_);
    *body_left_ -= bytes.size();
  }
  if (chunked_) {
    std::string size = fmt::format("{:x}\r\n", bytes.size());
    send(std::move(size), std::move(bytes), "\r\n");
  } else {
    send({}, std::move(bytes));
  }
  return !closing_;
}

void Connection::end_stream() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  exchange->connection = nullptr;
  answering_ = std::exchange(exchange->place, std::nullopt);
  streaming_ = false;
  chunk_unsent_ = false;
  after_write_ = after_answer();
  // A client that was promised more must not take the next answer for it.
  if (body_left_.value_or(0) != 0) after_write_ = AfterWrite::close;
  if (chunked_) {
    send(std::string(k_last_chunk));
  } else if (outgoing_.empty()) {
    finish_write();
  }
}

// Because it drains.
void Connection::finish_stream() {
  const std::shared_ptr<Exchange> exchange = exchange_;
  end_stream();
  if (const auto on_gone = std::exchange(exchange->on_gone, nullptr)) on_gone();
}

void Connection::stream_written() {
  if (draining_) {
    finish_stream();
    return;
  }
  update_reading();
  arm_for_state();
  if (!std::exchange(chunk_unsent_, false)) return;  // it was the head
  const auto on_writable = exchange_->on_writable;   // a copy: it may drop the stream
  if (on_writable) on_writable();
}

}  // namespace mailotp::daemon
