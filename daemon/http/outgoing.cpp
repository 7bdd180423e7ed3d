#include "daemon/http/outgoing.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

uv_buf_t buffer_of(std::string_view bytes) {
  return uv_buf_init(const_cast<char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
}

// Without empty parts: for one at the end libuv would wait until the kernel has room and write it by itself.
class Buffers {
 public:
  explicit Buffers(const std::array<std::string_view, 3>& parts) {
    for (const std::string_view part : parts)
      if (!part.empty()) buffers_[count_++] = buffer_of(part);
    CHECK(count_ > 0);
  }
  [[nodiscard]] const uv_buf_t* data() const { return buffers_.data(); }
  [[nodiscard]] unsigned count() const { return count_; }

 private:
  std::array<uv_buf_t, 3> buffers_{};
  unsigned count_ = 0;
};

}  // namespace

struct Outgoing::Write {
  uv_write_t request{};
  Outgoing* owner = nullptr;
  std::string head;
  std::string body;
};

Outgoing::Outgoing(uv_stream_t* stream, std::function<void(int)> taken)
    : stream_(stream), taken_(std::move(taken)) {}

Outgoing::~Outgoing() {
  CHECK(sends_ == 0);
}

int Outgoing::send(std::string head, std::string body, std::string_view tail) {
  auto write = std::make_unique<Write>();
  write->request.data = write.get();
  write->owner = this;
  write->head = std::move(head);
  write->body = std::move(body);
  const Buffers buffers({write->head, write->body, tail});
  const int error = uv_write(&write->request, stream_, buffers.data(), buffers.count(),
                             [](uv_write_t* request, int status) noexcept {
                               const std::unique_ptr<Write> done(static_cast<Write*>(request->data));
                               --done->owner->sends_;
                               done->owner->taken_(status);
                             });
  if (error != 0) return error;
  (void)write.release();  // the callback above owns it
  ++sends_;
  return 0;
}

int Outgoing::send_at_once(std::string head, std::string body) {
  CHECK(empty());
  const Buffers buffers({head, body, {}});
  const int taken = uv_try_write(stream_, buffers.data(), buffers.count());
  if (taken < 0 && taken != UV_EAGAIN) return taken;
  const std::size_t size = taken < 0 ? 0 : static_cast<std::size_t>(taken);
  if (size == head.size() + body.size()) return 0;
  const std::size_t of_head = std::min(size, head.size());
  body.erase(0, size - of_head);
  head.erase(0, of_head);
  return send(std::move(head), std::move(body));
}

}  // namespace mailotp::daemon
