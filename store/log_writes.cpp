#include "store/log_writes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include <sqlite3.h>

namespace mailotp::store {

namespace {

constexpr const char* k_name = "mailotpd-log-writes";
constexpr std::size_t k_room = 512 * 1024;
constexpr std::size_t k_piece = 16 * 1024;  // a write; SQLite's own layer takes less than 128 KiB at once

// What has been written and is not yet in the file: one stretch of it.
struct Gathered {
  sqlite3_int64 from = 0;
  std::vector<char> bytes;

  [[nodiscard]] sqlite3_int64 end() const { return from + static_cast<sqlite3_int64>(bytes.size()); }
  [[nodiscard]] bool touches(sqlite3_int64 at, std::size_t size) const {
    return !bytes.empty() && at < end() && at + static_cast<sqlite3_int64>(size) > from;
  }
  // False when it has no place behind or inside of what there is.
  bool take(sqlite3_int64 at, std::span<const char> more) {
    if (bytes.empty()) from = at;
    if (at < from || at > end()) return false;
    const auto offset = static_cast<std::size_t>(at - from);
    const std::size_t needed = std::max(bytes.size(), offset + more.size());
    if (needed > k_room) return false;
    if (bytes.capacity() == 0) bytes.reserve(k_room);
    bytes.resize(needed);
    std::memcpy(bytes.data() + offset, more.data(), more.size());
    return true;
  }
};

// SQLite allots it, with the room for the file of the layer below behind it.
struct LogFile {
  sqlite3_file base;
  Gathered* gathered;  // null: what is written goes on at once

  [[nodiscard]] sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  int flush() {
    if (gathered == nullptr || gathered->bytes.empty()) return SQLITE_OK;
    int code = SQLITE_OK;
    for (std::size_t at = 0; at < gathered->bytes.size() && code == SQLITE_OK; at += k_piece) {
      const std::size_t size = std::min(k_piece, gathered->bytes.size() - at);
      code = below()->pMethods->xWrite(below(), gathered->bytes.data() + at, static_cast<int>(size),
                                       gathered->from + static_cast<sqlite3_int64>(at));
    }
    // After an error SQLite gives the transaction up, and writes the next one to the same place.
    gathered->bytes.clear();
    return code;
  }
};
static_assert(sizeof(LogFile) % alignof(std::max_align_t) == 0);

LogFile& log_of(sqlite3_file* file) {
  return *reinterpret_cast<LogFile*>(file);
}

// ---- The methods of the log's file; what they do is SQLite's "OS Interface Virtual Methods Object"

int close(sqlite3_file* file) {
  LogFile& log = log_of(file);
  delete std::exchange(log.gathered, nullptr);  // of a commit nothing is left in it
  return log.below()->pMethods->xClose(log.below());
}

int read(sqlite3_file* file, void* out, int size, sqlite3_int64 at) {
  LogFile& log = log_of(file);
  if (log.gathered != nullptr && log.gathered->touches(at, static_cast<std::size_t>(size))) {
    if (const int code = log.flush(); code != SQLITE_OK) return code;
  }
  return log.below()->pMethods->xRead(log.below(), out, size, at);
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 at) {
  LogFile& log = log_of(file);
  if (log.gathered == nullptr) return log.below()->pMethods->xWrite(log.below(), bytes, size, at);
  const std::span more(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
  try {
    if (log.gathered->take(at, more)) return SQLITE_OK;
    if (const int code = log.flush(); code != SQLITE_OK) return code;
    if (log.gathered->take(at, more)) return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return log.below()->pMethods->xWrite(log.below(), bytes, size, at);
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  LogFile& log = log_of(file);
  if (const int code = log.flush(); code != SQLITE_OK) return code;
  return log.below()->pMethods->xTruncate(log.below(), size);
}

int sync(sqlite3_file* file, int flags) {
  LogFile& log = log_of(file);
  if (const int code = log.flush(); code != SQLITE_OK) return code;
  return log.below()->pMethods->xSync(log.below(), flags);
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  LogFile& log = log_of(file);
  if (const int code = log.flush(); code != SQLITE_OK) return code;
  return log.below()->pMethods->xFileSize(log.below(), size);
}

int lock(sqlite3_file* file, int level) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xLock(log.below(), level);
}

int unlock(sqlite3_file* file, int level) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xUnlock(log.below(), level);
}

int check_reserved_lock(sqlite3_file* file, int* out) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xCheckReservedLock(log.below(), out);
}

int file_control(sqlite3_file* file, int operation, void* argument) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xFileControl(log.below(), operation, argument);
}

int sector_size(sqlite3_file* file) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xSectorSize(log.below());
}

int device_characteristics(sqlite3_file* file) {
  LogFile& log = log_of(file);
  return log.below()->pMethods->xDeviceCharacteristics(log.below());
}

// Version 1: shared memory and mapped pages are the database file's.
const sqlite3_io_methods& log_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods out{};
    out.iVersion = 1;
    out.xClose = close;
    out.xRead = read;
    out.xWrite = write;
    out.xTruncate = truncate;
    out.xSync = sync;
    out.xFileSize = file_size;
    out.xLock = lock;
    out.xUnlock = unlock;
    out.xCheckReservedLock = check_reserved_lock;
    out.xFileControl = file_control;
    out.xSectorSize = sector_size;
    out.xDeviceCharacteristics = device_characteristics;
    return out;
  }();
  return methods;
}

int open(sqlite3_vfs* layer, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  auto* below = static_cast<sqlite3_vfs*>(layer->pAppData);
  // All but the log are as they were.
  if ((flags & SQLITE_OPEN_WAL) == 0) return below->xOpen(below, name, file, flags, flags_out);
  auto* log = new (file) LogFile{};
  log->gathered = new (std::nothrow) Gathered;
  if (log->gathered == nullptr) return SQLITE_NOMEM;
  const int code = below->xOpen(below, name, log->below(), flags, flags_out);
  if (code != SQLITE_OK) {
    // Without methods of its own SQLite does not close it.
    if (log->below()->pMethods != nullptr) (void)log->below()->pMethods->xClose(log->below());
    delete std::exchange(log->gathered, nullptr);
    return code;
  }
  // On a disk that may spoil what lies beside a write SQLite fills the last sector up with frames, and syncs
  // among them: not what flush() counts on.
  if ((log->below()->pMethods->xDeviceCharacteristics(log->below()) & SQLITE_IOCAP_POWERSAFE_OVERWRITE) == 0)
    delete std::exchange(log->gathered, nullptr);
  log->base.pMethods = &log_methods();
  return SQLITE_OK;
}

}  // namespace

const char* log_writes_layer() {
  static sqlite3_vfs layer{};
  sqlite3_vfs* below = sqlite3_vfs_find(nullptr);
  if (below == nullptr) return nullptr;
  if (layer.pAppData == below) return k_name;
  if (layer.pAppData != nullptr) (void)sqlite3_vfs_unregister(&layer);  // it is there
  layer = *below;
  layer.zName = k_name;
  layer.pNext = nullptr;
  layer.pAppData = below;
  layer.szOsFile = static_cast<int>(sizeof(LogFile)) + below->szOsFile;
  layer.xOpen = open;
  if (sqlite3_vfs_register(&layer, 0) == SQLITE_OK) return k_name;
  layer.pAppData = nullptr;
  return nullptr;
}

}  // namespace mailotp::store
