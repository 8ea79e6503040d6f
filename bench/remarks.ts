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
    'Where the rest goes, of 7.9 ms (a daemon that tells how long its jobs take): 0.4 until the look at the inbox begins, 0.5 ' +
    'that look, 3.2 to see whether the drop is whole, to take it and to store it, 0.5 for the lock, 3.6 to build the ' +
    'snapshot, 0.5 the flip. On a tmpfs the same takes 3.4 to 3.8 ms: the rest is the disk, some 20 syncs ' +
    '(0.06 to 0.3 ms each, one after the other, for each rests on the one before) and 17 new files and directories ' +
    '(this ext4 has no journal, and makes each in 0.02 ms, or in up to 0.3 when thousands were removed within minutes). ' +
    'Three times as fast as the script would be about 2.5 ms: the syncs alone take two, and the script makes none; so that ' +
    'row is out of reach for who syncs. Tried in C: syncs of 10 files and directories from four threads (0.6 ms instead of ' +
    '1.2), syncfs for all of them (0.3 ms; Node has none, and a process for it takes 5).',
  drops:
    'Where the rest goes: the processors, which are 80 to 90 % busy with it, and with who drops and who looks. Of 2.6 ms a ' +
    'drop half is the kernel’s (of all: syncs 8 %, opening files 6, one component at a time and through no link, hard links 6, ' +
    'stats 5, renames 4); to look at a drop, to take and to store it is 30 to 35 % of all, the snapshots 13 %, the main thread 11 ' +
    '(a fifth of that the log), compiling JavaScript, for each thread anew, 8, garbage 5. On a tmpfs it is 750 drops a second ' +
    'where it is 600 on the disk. Ten times the script that syncs nothing would be 1.6 ms a drop on both processors. Some 180 ' +
    'system calls are made for one, each through Node; 40 of the 100 that take it could be spared by trusting what was ' +
    'looked at before, and that would be a seventh. Tried without gain: three or four threads (a fifth more computing for ' +
    'the same), V8 flags (when to compile, feedback at once, on-stack replacement, collecting in one thread), more or less young ' +
    'memory, a sync for each file, a second of drops to a job; with 1 to 3 % and not kept: a look shared by ' +
    'two threads, a claim that goes by directories that are open already. The script starts five processes for each drop; where ' +
    'starting one is dear (47 ms a drop for the script instead of 8, on the same machine on other days), the ratio was 9.8 before ' +
    'these drops cost less than half.',
  tags:
    'Where the rest goes: writing `.snapshot.json` (16 MB for 10,000 tags) and the redirect file, and walking over ' +
    'what is remembered of the last snapshot, to merge the drop and to see what changed. All else is done for ' +
    'what changed alone: its lines, its files, its syncs. One that comes when there is no spare tree ' +
    'makes six hard links for each tag that is there.',
  cleaning:
    'Where the rest goes: to `rm` as well, one process for each huge directory, one after the other so that publishes and ' +
    'pulls go first (two at once take half as long, measured without anybody else); besides, a spare tree of that ' +
    'repository is made meanwhile, 60,000 links.',
  rest:
    'Where the rest goes: signs of life every 2.5 s, nearly all of it. Memory: of what is more than bare, 10 MiB ' +
    'are pages of the node program itself, and another schema library (95 files more) would be 3 of the rest. One thread ' +
    'stays (6 MiB); what runs has no comments in it (0.8 MiB), and the unit lets the C library keep less for each thread (4 MiB).',
  archive:
    'Where the rest goes: writing the layers, as with foreign files. Inflating is done by zlib in one thread.',
};
