#include "bench/store_files.h"

#include <cstring>

#include <sqlite3.h>

namespace mailotp::bench {

namespace {

// SQLite knows file layers by name for the whole process, so this is one object.
struct Layer {
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs ours{};
  FileCounts counts;
};
Layer layer;

struct File {
  sqlite3_file base;
  sqlite3_file* real;  // lies behind this one
  bool is_log;
};
sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<File*>(file)->real;
}

int write(sqlite3_file* f, const void* bytes, int size, sqlite3_int64 at) {
  if (reinterpret_cast<File*>(f)->is_log) {
    ++layer.counts.log_writes;
    layer.counts.log_bytes += static_cast<std::uint64_t>(size);
  } else {
    layer.counts.database_bytes += static_cast<std::uint64_t>(size);
  }
  return real(f)->pMethods->xWrite(real(f), bytes, size, at);
}

int sync(sqlite3_file* f, int flags) {
  ++layer.counts.syncs;
  return real(f)->pMethods->xSync(real(f), flags);
}

const sqlite3_io_methods k_methods = {
    .iVersion = 2,
    .xClose = [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); },
    .xRead = [](sqlite3_file* f, void* to, int size,
                sqlite3_int64 at) { return real(f)->pMethods->xRead(real(f), to, size, at); },
    .xWrite = write,
    .xTruncate = [](sqlite3_file* f,
                    sqlite3_int64 size) { return real(f)->pMethods->xTruncate(real(f), size); },
    .xSync = sync,
    .xFileSize = [](sqlite3_file* f,
                    sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); },
    .xLock = [](sqlite3_file* f, int lock) { return real(f)->pMethods->xLock(real(f), lock); },
    .xUnlock = [](sqlite3_file* f, int lock) { return real(f)->pMethods->xUnlock(real(f), lock); },
    .xCheckReservedLock = [](sqlite3_file* f,
                             int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
    .xFileControl = [](sqlite3_file* f, int op,
                       void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); },
    .xSectorSize = [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
    .xDeviceCharacteristics =
        [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
    .xShmMap =
        [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
          return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
        },
    .xShmLock = [](sqlite3_file* f, int offset, int n,
                   int flags) { return real(f)->pMethods->xShmLock(real(f), offset, n, flags); },
    .xShmBarrier = [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); },
    .xShmUnmap = [](sqlite3_file* f, int erase) { return real(f)->pMethods->xShmUnmap(real(f), erase); },
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  auto* file = reinterpret_cast<File*>(f);
  file->real = reinterpret_cast<sqlite3_file*>(file + 1);
  file->is_log = (flags & SQLITE_OPEN_WAL) != 0;
  std::memset(file->real, 0, static_cast<std::size_t>(layer.real->szOsFile));
  const int code = layer.real->xOpen(layer.real, name, file->real, flags, out_flags);
  file->base.pMethods = code == SQLITE_OK ? &k_methods : nullptr;
  return code;
}

}  // namespace

CountedFiles::CountedFiles() {
  layer.real = sqlite3_vfs_find(nullptr);
  layer.ours = *layer.real;
  layer.ours.zName = "counted";
  layer.ours.szOsFile = static_cast<int>(sizeof(File)) + layer.real->szOsFile;
  layer.ours.xOpen = open;
  layer.counts = {};
  (void)sqlite3_vfs_register(&layer.ours, 1);  // fails for want of memory only
}

CountedFiles::~CountedFiles() {
  (void)sqlite3_vfs_register(layer.real, 1);
  (void)sqlite3_vfs_unregister(&layer.ours);
}

FileCounts CountedFiles::counts() const {
  return layer.counts;
}

}  // namespace mailotp::bench
