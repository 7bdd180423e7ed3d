#include "daemon/http/responder.h"

#include <utility>

#include "core/check.h"
#include "daemon/http/connection.h"

namespace mailotp::daemon {
namespace {

void set_on_gone(Exchange& exchange, std::function<void()> callback) {
  if (exchange.connection) {
    exchange.on_gone = std::move(callback);
  } else {
    callback();
  }
}

}  // namespace

HttpStream::HttpStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

HttpStream& HttpStream::operator=(HttpStream&& other) noexcept {
  if (this == &other) return *this;
  drop();
  exchange_ = std::move(other.exchange_);
  return *this;
}

HttpStream::~HttpStream() {
  drop();
}

void HttpStream::drop() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  if (!exchange) return;
  exchange->on_gone = nullptr;
  if (exchange->connection) exchange->connection->close();
}

bool HttpStream::write(std::string bytes) {
  CHECK(exchange_ != nullptr && !bytes.empty());
  return exchange_->connection && exchange_->connection->write_chunk(std::move(bytes));
}

bool HttpStream::writable() const {
  CHECK(exchange_ != nullptr);
  return exchange_->connection && exchange_->connection->writable();
}

void HttpStream::on_writable(std::function<void()> callback) {
  CHECK(exchange_ != nullptr);
  exchange_->on_writable = std::move(callback);
}

void HttpStream::on_gone(std::function<void()> callback) {
  CHECK(exchange_ != nullptr);
  set_on_gone(*exchange_, std::move(callback));
}

void HttpStream::end() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  CHECK(exchange != nullptr);
  exchange->on_gone = nullptr;
  if (exchange->connection) exchange->connection->end_stream();
}

Responder::Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this == &other) return *this;
  drop();
  exchange_ = std::move(other.exchange_);
  return *this;
}

Responder::~Responder() {
  drop();
}

void Responder::drop() {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  if (exchange && exchange->connection) exchange->connection->answer_dropped();
}

void Responder::respond(HttpResponse response) {
  const std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  CHECK(exchange != nullptr);
  exchange->on_gone = nullptr;
  if (exchange->connection) exchange->connection->respond(std::move(response));
}

HttpStream Responder::stream(StreamHead head) {
  std::shared_ptr<Exchange> exchange = std::exchange(exchange_, nullptr);
  CHECK(exchange != nullptr);
  exchange->on_gone = nullptr;
  if (exchange->connection) exchange->connection->start_stream(head);
  return HttpStream(std::move(exchange));
}

void Responder::on_gone(std::function<void()> callback) {
  CHECK(exchange_ != nullptr);
  set_on_gone(*exchange_, std::move(callback));
}

}  // namespace mailotp::daemon
