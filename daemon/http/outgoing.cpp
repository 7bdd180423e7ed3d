#include "daemon/http/outgoing.h"

#include <array>
#include <memory>
#include <utility>

#include "core/check.h"

namespace mailotp::daemon {
namespace {

uv_buf_t buffer_of(std::string_view bytes) {
  return uv_buf_init(const_cast<char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
}

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
  // Without empty parts: for one at the end libuv would wait until the kernel has room and write it by
  // itself.
  std::array<uv_buf_t, 3> buffers{};
  unsigned count = 0;
  for (const std::string_view part : {std::string_view(write->head), std::string_view(write->body), tail})
    if (!part.empty()) buffers[count++] = buffer_of(part);
  CHECK(count > 0);
  const int error =
      uv_write(&write->request, stream_, buffers.data(), count, [](uv_write_t* request, int status) noexcept {
        const std::unique_ptr<Write> done(static_cast<Write*>(request->data));
        --done->owner->sends_;
        done->owner->taken_(status);
      });
  if (error != 0) return error;
  (void)write.release();  // the callback above owns it
  ++sends_;
  return 0;
}

}  // namespace mailotp::daemon
