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
    'Where the rest goes: syncs, one journal commit each, and not the processor. Content is synced before it ' +
    'has its name in the store, the tree before the flip, and the link after it.',
  drops:
    'Where the rest goes: system calls. Each drop is looked at, examined, claimed and staged, and each of these ' +
    'opens it anew, one component at a time and through no link; each flip costs what one drop alone costs.',
  tags:
    'Where the rest goes: hard links, and reading and writing `.snapshot.json` and the redirect file, both as ' +
    'long as the list of tags. Only the new tag is hashed, parsed and synced.',
  cleaning:
    'Where the rest goes: not profiled. Each of 2.5 million names is one call from JavaScript, on one thread in the ' +
    'background so that publishes and pulls go first; `rm` does the same in a loop of C.',
  rest:
    'Where the rest goes: signs of life every 2.5 s, a look for what the dead left every 10 s, and a full look at the ' +
    'inbox every 30 s, which is most of it. Memory: zod alone is 12 MiB of modules, read for the settings.',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
