/** Where the time goes, and why a row is not reached: what profiles and traces said, by question. */
export const REMARKS: Readonly<Record<string, string>> = {
  bulk:
    'Where the rest goes: a hash thread that has had nothing to do for a while is started anew, and ' +
    'then each layer is read and hashed once, one thread for each core; layers of one size come out even.',
  foreign:
    'Where the rest goes: writing. The bytes are written once and synced before the flip, on both sides; ' +
    'what differs from round to round is the disk.',
  latency:
    'Where the rest goes: syncs, one journal commit each, and not the processor. Content is synced before it ' +
    'has its name in the store, the tree before the flip, and the link after it.',
  drops:
    'Where the rest goes: system calls. Each drop is looked at, examined, claimed and staged, and each of these ' +
    'opens it anew, one component at a time and through no link; each flip costs what one drop alone costs.',
  tags:
    'Where the rest goes: hard links, and reading and writing `.snapshot.json` and the redirect file, both as ' +
    'long as the list of tags. Only the new tag is hashed, parsed and synced.',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
