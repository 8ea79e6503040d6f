/** Where the time goes, and why a row is not reached: what profiles and traces said, by question. */
export const REMARKS: Readonly<Record<string, string>> = {
  bulk:
    'Where the rest goes: a hash thread that has had nothing to do for a while is started anew, and ' +
    'then each layer is read and hashed once, one thread for each core; layers of one size come out even.',
  foreign:
    'Where the rest goes: each thread copies a layer while it hashes it and then waits until it is synced; the peer ' +
    'has one process that copies, one that syncs all at the end, and hashes beside them. In pieces of 1 MiB the ' +
    'kernel took twice as long to write (3.6 s instead of 2.5), so they are of 256 KiB. Not tried: to begin ' +
    'writing back before a layer is whole.',
  latency:
    'Where the rest goes: syncs, one journal commit each, and not the processor. Content is synced before it ' +
    'has its name in the store, the tree before the flip, and the link after it.',
  drops:
    'Where the rest goes: system calls. Each drop is looked at, examined, claimed and staged, and each of these ' +
    'opens it anew, one component at a time and through no link; each flip costs what one drop alone costs.',
  tags:
    'Where the rest goes: writing `.snapshot.json` (16 MB for 10,000 tags) and the redirect file, and walking over ' +
    'what is remembered of the last snapshot, to merge the drop and to see what changed. All else is done for ' +
    'what changed alone: its lines, its files, its syncs. One that comes when no tree is ready (two are made ' +
    'ahead for who publishes often) makes six hard links for each tag that is there.',
  cleaning:
    'Where the rest goes: not profiled. Each of 2.5 million names is one call from JavaScript, on one thread in the ' +
    'background so that publishes and pulls go first; `rm` does the same in a loop of C.',
  rest:
    'Where the rest goes: signs of life every 2.5 s, a look for what the dead left every 10 s, and a full look at the ' +
    'inbox every 30 s, which is most of it. Memory: zod alone is 12 MiB of modules, read for the settings.',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
