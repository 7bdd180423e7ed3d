#include "tests/store/power_file.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <sqlite3.h>

namespace mailotp::store::test {

namespace {

constexpr std::int64_t k_sector = 512;

struct Write {
  std::int64_t at = 0;  // of a write; the new size of a truncation
  std::string bytes;    // empty: a truncation
};

// SQLite knows file layers by name for the whole process, so this is one object.
struct Power {
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs ours{};
  int left = -1;  // syncs until it goes; below 0: it stays
  bool lost = false;
  Survives survives = Survives::nothing;
  std::uint64_t state = 1;

  bool keeps() {
    if (survives != Survives::some) return survives == Survives::everything;
    // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 2685821657736338717ULL >> 63) != 0;
  }
};
Power power;

// A database's or a log's file. `seen` is what the program sees, and is written to the real one at a sync.
struct File {
  sqlite3_file base;
  std::vector<Write>* unsynced;
  std::string* seen;
  sqlite3_file* real;  // lies behind this one
};
File& of(sqlite3_file* file) {
  return *reinterpret_cast<File*>(file);
}
std::vector<File*>& open_files() {
  static std::vector<File*> files;
  return files;
}

int apply(const File& file, const Write& write) {
  const auto* methods = file.real->pMethods;
  if (write.bytes.empty()) return methods->xTruncate(file.real, write.at);
  return methods->xWrite(file.real, write.bytes.data(), static_cast<int>(write.bytes.size()), write.at);
}

// What of a write has reached the disk when the power goes.
void apply_torn(const File& file, const Write& write) {
  if (write.bytes.empty()) {
    if (power.keeps()) (void)apply(file, write);
    return;
  }
  const auto size = static_cast<std::int64_t>(write.bytes.size());
  for (std::int64_t from = 0; from < size;) {
    const std::int64_t sector_end = (write.at + from) / k_sector * k_sector + k_sector - write.at;
    const std::int64_t to = std::min(sector_end, size);
    if (power.keeps())
      (void)apply(file, {write.at + from, write.bytes.substr(static_cast<std::size_t>(from),
                                                             static_cast<std::size_t>(to - from))});
    from = to;
  }
}

void go_dark() {
  power.lost = true;
  for (const File* file : open_files()) {
    for (const Write& write : *file->unsynced)
      apply_torn(*file, write);
    file->unsynced->clear();
  }
}

int read(sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
  const std::string& seen = *of(f).seen;
  const auto from = std::min(static_cast<std::size_t>(at), seen.size());
  const std::size_t got = std::min(seen.size() - from, static_cast<std::size_t>(size));
  std::memcpy(to, seen.data() + from, got);
  std::memset(static_cast<char*>(to) + got, 0, static_cast<std::size_t>(size) - got);
  return got == static_cast<std::size_t>(size) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int write(sqlite3_file* f, const void* bytes, int size, sqlite3_int64 at) {
  if (power.lost) return SQLITE_IOERR_WRITE;
  File& file = of(f);
  const std::string text(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
  const auto end = static_cast<std::size_t>(at) + text.size();
  if (file.seen->size() < end) file.seen->resize(end);
  file.seen->replace(static_cast<std::size_t>(at), text.size(), text);
  file.unsynced->push_back({at, text});
  return SQLITE_OK;
}

int truncate(sqlite3_file* f, sqlite3_int64 size) {
  if (power.lost) return SQLITE_IOERR_TRUNCATE;
  of(f).seen->resize(static_cast<std::size_t>(size));
  of(f).unsynced->push_back({size, {}});
  return SQLITE_OK;
}

int sync(sqlite3_file* f, int /*flags*/) {
  if (!power.lost && power.left == 0) go_dark();
  if (power.lost) return SQLITE_IOERR_FSYNC;
  if (power.left > 0) --power.left;
  File& file = of(f);
  for (const Write& write : *file.unsynced) {
    if (const int code = apply(file, write); code != SQLITE_OK) return code;
  }
  file.unsynced->clear();
  return SQLITE_OK;  // what counts as synced has been written; the disk under it is not the one that fails
}

int file_size(sqlite3_file* f, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(of(f).seen->size());
  return SQLITE_OK;
}

// In good order nothing is lost by a close: the cache reaches the disk in the end.
int close(sqlite3_file* f) {
  File& file = of(f);
  if (!power.lost) {
    for (const Write& write : *file.unsynced)
      (void)apply(file, write);
  }
  std::erase(open_files(), &file);
  delete file.unsynced;
  delete file.seen;
  return file.real->pMethods->xClose(file.real);
}

const sqlite3_io_methods k_methods = {
    .iVersion = 2,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = file_size,
    .xLock = [](sqlite3_file* f, int lock) { return of(f).real->pMethods->xLock(of(f).real, lock); },
    .xUnlock = [](sqlite3_file* f, int lock) { return of(f).real->pMethods->xUnlock(of(f).real, lock); },
    .xCheckReservedLock = [](sqlite3_file* f,
                             int* out) { return of(f).real->pMethods->xCheckReservedLock(of(f).real, out); },
    .xFileControl = [](sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; },
    .xSectorSize = [](sqlite3_file*) { return static_cast<int>(k_sector); },
    // What the real one promises of a sector's neighbours holds: a torn write leaves them alone.
    .xDeviceCharacteristics =
        [](sqlite3_file* f) { return of(f).real->pMethods->xDeviceCharacteristics(of(f).real); },
    .xShmMap =
        [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
          return of(f).real->pMethods->xShmMap(of(f).real, page, size, extend, out);
        },
    .xShmLock = [](sqlite3_file* f, int offset, int n,
                   int flags) { return of(f).real->pMethods->xShmLock(of(f).real, offset, n, flags); },
    .xShmBarrier = [](sqlite3_file* f) { of(f).real->pMethods->xShmBarrier(of(f).real); },
    .xShmUnmap = [](sqlite3_file* f,
                    int erase) { return of(f).real->pMethods->xShmUnmap(of(f).real, erase); },
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  f->pMethods = nullptr;
  if (power.lost) return SQLITE_CANTOPEN;
  File& file = of(f);
  file.real = reinterpret_cast<sqlite3_file*>(&file + 1);
  std::memset(file.real, 0, static_cast<std::size_t>(power.real->szOsFile));
  const int code = power.real->xOpen(power.real, name, file.real, flags, out_flags);
  if (code != SQLITE_OK) return code;
  sqlite3_int64 size = 0;
  (void)file.real->pMethods->xFileSize(file.real, &size);
  file.unsynced = new std::vector<Write>;
  file.seen = new std::string(static_cast<std::size_t>(size), '\0');
  if (size > 0) (void)file.real->pMethods->xRead(file.real, file.seen->data(), static_cast<int>(size), 0);
  open_files().push_back(&file);
  f->pMethods = &k_methods;
  return SQLITE_OK;
}

// A removed file is gone at once here; SQLite syncs the folder where it matters.
int remove(sqlite3_vfs*, const char* name, int sync_folder) {
  return power.lost ? SQLITE_IOERR_DELETE : power.real->xDelete(power.real, name, sync_folder);
}

}  // namespace

PowerFiles::PowerFiles() {
  power.real = sqlite3_vfs_find(nullptr);
  power.ours = *power.real;
  power.ours.zName = "power";
  power.ours.szOsFile = static_cast<int>(sizeof(File)) + power.real->szOsFile;
  power.ours.xOpen = open;
  power.ours.xDelete = remove;
  restore();
  sqlite3_vfs_register(&power.ours, 1);
}

PowerFiles::~PowerFiles() {
  sqlite3_vfs_register(power.real, 1);
  sqlite3_vfs_unregister(&power.ours);
}

void PowerFiles::lose_at(int nth, Survives survives, std::uint64_t seed) {
  power.left = nth;
  power.lost = false;
  power.survives = survives;
  power.state = seed * 2 + 1;
}

bool PowerFiles::lost() const {
  return power.lost;
}

void PowerFiles::restore() {
  power.left = -1;
  power.lost = false;
}

}  // namespace mailotp::store::test
