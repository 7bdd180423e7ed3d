#include "tests/store/fault_file.h"

#include <cstring>

#include <sqlite3.h>

namespace mailotp::store::test {

namespace {

// SQLite knows file layers by name for the whole process, so this is one object.
struct Faults {
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs ours{};
  FaultKind kind = FaultKind::none;
  int left = 0;
  int count = 0;
  bool struck = false;

  bool strikes(FaultKind at) {
    if (kind != at) return false;
    if (left-- > 0) return false;
    if (count-- <= 0) return false;
    struck = true;
    return true;
  }
};
Faults faults;

struct File {
  sqlite3_file base;
  sqlite3_file* real;  // lies behind this one
};
sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<File*>(file)->real;
}

int write(sqlite3_file* f, const void* bytes, int size, sqlite3_int64 at) {
  if (faults.strikes(FaultKind::disk_full)) return SQLITE_FULL;
  if (faults.strikes(FaultKind::write_error)) return SQLITE_IOERR_WRITE;
  if (faults.strikes(FaultKind::short_write)) {
    (void)real(f)->pMethods->xWrite(real(f), bytes, size / 2, at);
    return SQLITE_IOERR_WRITE;
  }
  return real(f)->pMethods->xWrite(real(f), bytes, size, at);
}
int sync(sqlite3_file* f, int flags) {
  if (faults.strikes(FaultKind::sync_error)) return SQLITE_IOERR_FSYNC;
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
  std::memset(file->real, 0, static_cast<std::size_t>(faults.real->szOsFile));
  const int code = faults.real->xOpen(faults.real, name, file->real, flags, out_flags);
  file->base.pMethods = code == SQLITE_OK ? &k_methods : nullptr;
  return code;
}

}  // namespace

FaultFiles::FaultFiles() {
  faults.real = sqlite3_vfs_find(nullptr);
  faults.ours = *faults.real;
  faults.ours.zName = "faults";
  faults.ours.szOsFile = static_cast<int>(sizeof(File)) + faults.real->szOsFile;
  faults.ours.xOpen = open;
  stop_failing();
  sqlite3_vfs_register(&faults.ours, 1);
}

FaultFiles::~FaultFiles() {
  sqlite3_vfs_register(faults.real, 1);
  sqlite3_vfs_unregister(&faults.ours);
}

void FaultFiles::fail_from(int first, FaultKind kind, int count) {
  faults.kind = kind;
  faults.left = first;
  faults.count = count;
  faults.struck = false;
}

void FaultFiles::stop_failing() {
  faults.kind = FaultKind::none;
}

bool FaultFiles::struck() const {
  return faults.struck;
}

}  // namespace mailotp::store::test
