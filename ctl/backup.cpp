#include "ctl/backup.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/snapshot.h"
#include "ctl/file_io.h"
#include "ctl/interrupts.h"
#include "ctl/text.h"

namespace mailotp::ctl {
namespace {

using Clock = std::chrono::steady_clock;

Failure failure(const std::string& path, std::string_view what, int error) {
  const auto exit = error == EACCES || error == EPERM ? ExitCode::no_permission : ExitCode::refused;
  return {exit, fmt::format("{}: {}: {}", printable(path), what, std::strerror(error))};
}

Failure exists(const std::string& path) {
  return {ExitCode::refused, fmt::format("{} exists and was not touched; name a new file", printable(path))};
}

// So much is left to the kernel at once: who has the same disk, such as the daemon, must not wait for all of
// it.
constexpr std::size_t k_piece = 4UL << 20;

// A file that has its name only when it is whole.
class NewFile {
 public:
  explicit NewFile(const std::string& path)
      : path_(path),
        part_(path + ".part"),
        fd_(::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)),
        open_error_(fd_.get() < 0 ? errno : 0) {}
  ~NewFile() {
    if (fd_.get() >= 0 && !finished_) (void)::unlink(part_.c_str());  // nothing more can be done about it
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] Attempt<void> begun() const {
    if (open_error_ == EEXIST)
      return tl::unexpected(Failure{
          ExitCode::refused,
          fmt::format("{} exists: another backup is being written there, or one was killed; then remove it",
                      printable(part_))});
    if (open_error_ != 0) return tl::unexpected(failure(part_, "cannot create it", open_error_));
    // The umask may have taken the owner's own rights.
    if (::fchmod(fd_.get(), 0600) != 0) return tl::unexpected(failure(part_, "cannot set its mode", errno));
    return {};
  }
  // False: errno says why.
  [[nodiscard]] bool write(std::string_view bytes) {
    if (!write_all(fd_.get(), bytes)) return false;
    unsynced_ += bytes.size();
    if (unsynced_ < k_piece) return true;
    unsynced_ = 0;
    // For the pace only: finish() finds what could not be written.
    (void)::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
    return true;
  }
  [[nodiscard]] Attempt<void> finish() {
    if (::fsync(fd_.get()) != 0) return tl::unexpected(failure(part_, "cannot write it", errno));
    if (const int error = take_name(); error != 0)
      return tl::unexpected(error == EEXIST ? exists(path_)
                                            : failure(path_, "cannot give it this name", error));
    finished_ = true;
    if (!sync_folder_of(path_)) return tl::unexpected(failure(path_, "cannot write its folder", errno));
    return {};
  }

 private:
  // Never over a file that has come in the meantime. Zero, or the error.
  [[nodiscard]] int take_name() const {
    if (::renameat2(AT_FDCWD, part_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    // A file system without it.
    if (::link(part_.c_str(), path_.c_str()) != 0) return errno;
    (void)::unlink(part_.c_str());  // a second name of a whole file does no harm
    return 0;
  }

  std::string path_;
  std::string part_;
  Descriptor fd_;
  int open_error_;
  std::size_t unsynced_ = 0;
  bool finished_ = false;
};

std::string size_text(double bytes) {
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return fmt::format("{:.1f} MiB", bytes / 1024 / 1024);
  return fmt::format("{:.2f} GiB", bytes / 1024 / 1024 / 1024);
}

// On a terminal one line that is written anew; elsewhere a line now and then.
class Progress {
 public:
  ~Progress() {
    if (shown_ && terminal_) (void)std::fputs("\r\x1b[K", stderr);
  }
  void show(std::uint64_t have, std::uint64_t whole) {
    const auto now = Clock::now();
    if (have > 0 && !began_) began_ = now;
    if (now < next_) return;
    next_ = now + interval();
    if (!began_) return print("the daemon makes the snapshot");
    const double seconds = std::chrono::duration<double>(now - *began_).count();
    const auto bytes = static_cast<double>(have);
    print(fmt::format("{} of {}, {}/s", size_text(bytes), size_text(static_cast<double>(whole)),
                      size_text(seconds > 0 ? bytes / seconds : 0)));
  }

 private:
  void print(const std::string& text) {
    (void)std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "mailotpctl: %s\n", text.c_str());
    (void)std::fflush(stderr);
    shown_ = true;
  }

  [[nodiscard]] std::chrono::milliseconds interval() const {
    return terminal_ ? std::chrono::milliseconds{200} : std::chrono::seconds{5};
  }

  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + interval();
  std::optional<Clock::time_point> began_;  // the first byte
};

class ToFile final : public DaemonClient::Receiver {
 public:
  ToFile(NewFile& file, Interrupts& interrupts) : file_(file), interrupts_(interrupts) {}

  bool take(std::string_view bytes) override {
    if (first_.size() < core::k_database_header)
      first_ += bytes.substr(0, core::k_database_header - first_.size());
    if (!file_.write(bytes)) {
      error_ = errno;
      return false;
    }
    bytes_ += bytes.size();
    return true;
  }
  bool go_on(std::uint64_t whole) override {
    if (interrupts_.ended()) interrupted_ = true;
    if (!interrupted_) progress_.show(bytes_, whole);
    return !interrupted_;
  }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] bool interrupted() const { return interrupted_; }
  // What is wrong with what has been received; empty: it is a whole snapshot.
  [[nodiscard]] std::string fault() const {
    const auto header = core::read_database_header(first_);
    if (!header) return header.error().what;
    if (header->application_id != core::k_snapshot_id) return "is no snapshot of mailotpd";
    if (header->bytes != bytes_) return fmt::format("has {} bytes, not {}", bytes_, header->bytes);
    return {};
  }

 private:
  NewFile& file_;
  Interrupts& interrupts_;
  Progress progress_;
  std::string first_;
  std::uint64_t bytes_ = 0;
  int error_ = 0;
  bool interrupted_ = false;
};

}  // namespace

Attempt<BackupDone> back_up(DaemonClient& client, const std::string& file) {
  const auto begin = Clock::now();
  struct stat there {};
  if (::lstat(file.c_str(), &there) == 0) return tl::unexpected(exists(file));
  Interrupts interrupts;
  NewFile made(file);
  if (auto begun = made.begun(); !begun) return tl::unexpected(std::move(begun.error()));
  std::optional<ToFile> receiver(std::in_place, made, interrupts);
  auto reply = client.receive("/v1/backup", *receiver);
  const std::uint64_t bytes = receiver->bytes();
  if (receiver->interrupted())
    return tl::unexpected(
        Failure{ExitCode::refused, fmt::format("interrupted; there is no {}", printable(file))});
  if (receiver->error() != 0) return tl::unexpected(failure(file, "cannot write it", receiver->error()));
  if (!reply && bytes > 0)
    return tl::unexpected(Failure{
        ExitCode::try_again, fmt::format("the backup was cut after {} bytes, and there is no {}; try again",
                                         bytes, printable(file))});
  if (!reply) return tl::unexpected(std::move(reply.error()));
  if (reply->status != 200) return tl::unexpected(failure_of(*reply));
  if (const std::string fault = receiver->fault(); !fault.empty())
    return tl::unexpected(Failure{ExitCode::refused, "what the daemon has sent " + fault});
  receiver.reset();  // its line on the terminal goes
  if (auto finished = made.finish(); !finished) return tl::unexpected(std::move(finished.error()));
  return BackupDone{bytes, std::chrono::duration<double>(Clock::now() - begin).count()};
}

std::string show_backup(const std::string& file, const BackupDone& done) {
  return fmt::format("{}: {} in {:.1f} s; what is sealed in it needs the key file\n", printable(file),
                     size_text(static_cast<double>(done.bytes)), done.seconds);
}

}  // namespace mailotp::ctl
