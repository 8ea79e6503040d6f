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
    'Where the rest goes: hard links, and reading and writing `.snapshot.json` and the redirect file, both as ' +
    'long as the list of tags. Only the new tag is hashed, parsed and synced.',
  cleaning:
    'Where the rest goes: huge directories are left to `rm`, one after the other on one thread in the background, so ' +
    'that publishes and pulls go first. Name by name from JavaScript it was 1.5 times `rm -rf`: each is a whole path ' +
    'that the kernel looks up, a sixth of the time.',
  rest:
    'Where the rest goes: what a start leaves behind falls into the 35 s. Threads end after 30 s without work, and V8 ' +
    'collects what they and the start left; after that it was 0.13 %, signs of life every 2.5 s nearly all of it. ' +
    'Memory: of what is more than bare, 10 MiB are pages of the node program itself; zod, yaml and winston take 8 to ' +
    '12 MiB each to load.',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
