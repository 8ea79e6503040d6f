/** Where the time goes, and why a row is not reached: what profiles and traces said, by question. */
export const REMARKS: Readonly<Record<string, string>> = {
  bulk:
    'Where the rest goes: a hash thread that has had nothing to do for a while is started anew, and ' +
    'then each layer is read and hashed once, one thread for each core; layers of one size come out even.',
  foreign:
    'Where the rest goes: writing to the disk, which takes 1.4 s for itself (`sync -f` after `cp`), and hashing, 0.8 s on ' +
    'both cores, beside it. A layer is synced by another thread, from its first 32 MiB on. Tried in C, and slower: ' +
    '`O_DIRECT` (2.6 to 4.2 s with 2 to 8 writes at once), `sync_file_range` (3.1 s), `copy_file_range` before hashing ' +
    '(2.3 s). No difference: steps of 16 or 64 MiB, 1 or 4 threads that sync, reads of 256 KiB.',
  latency:
    'Where the rest goes: about 25 syncs before the flip (content before it has its name in the store, the tree ' +
    'before the flip), and four ways to a thread and back, each of which costs two wakes.',
  drops:
    'Where the rest goes: the processor, all of it, half in JavaScript and half in system calls. What is dropped ' +
    'for one repository is read together, syncs together and gets its receipts together; what is left for each drop ' +
    'is to look at it twice, to open its files one component at a time and through no link, and six syncs: three ' +
    'files and the directories of their names in the store.',
  tags:
    'Where the rest goes: writing `.snapshot.json` (16 MB for 10,000 tags) and the redirect file, and walking over ' +
    'what is remembered of the last snapshot, to merge the drop and to see what changed. All else is done for ' +
    'what changed alone: its lines, its files, its syncs. One that comes when no tree is ready (two are made ' +
    'ahead for who publishes often) makes six hard links for each tag that is there.',
  cleaning:
    'Where the rest goes: not found out. Huge directories are left to `rm`, one after the other on one thread in the ' +
    'background, so that publishes and pulls go first; name by name from JavaScript each is a whole path that the ' +
    'kernel looks up.',
  rest:
    'Where the rest goes: signs of life every 2.5 s, nearly all of it. Memory: of what is more than bare, 10 MiB ' +
    'are pages of the node program itself; zod, yaml and winston take 8 to 12 MiB each to load. The one thread that ' +
    'stays keeps 3 MiB of what is young instead of up to 48, which is 12 MiB less.',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
