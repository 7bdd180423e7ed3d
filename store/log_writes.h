// A file layer for SQLite that gathers what a transaction writes to the write-ahead log into few large
// writes. SQLite itself writes each page in two (its frame's header of 24 octets, then the page): a commit of
// 25 pages takes 50 calls of pwrite(2), some 2 µs each; this one takes seven.
//
// What is gathered reaches the file before it is synced, read, measured or cut. So a commit that has been
// synced is there for every reader, and SQLite makes a commit known to others only then: every commit must
// be synced (`synchronous` FULL or more). What a transaction that fails has left, the next one writes over. A
// full disk is told by whatever brings the gathered bytes to the file: mostly the sync.
#pragma once

namespace mailotp::store {

// The name for sqlite3_open_v2(). It stands above the layer that is SQLite's default when this is called.
// Null: SQLite has no memory for it, and its default must do. Any thread.
[[nodiscard]] const char* log_writes_layer();

}  // namespace mailotp::store
