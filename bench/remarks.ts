/**
 * Explains by question how the remaining time is spent and why a goal is not reached, from profiles and
 * traces.
 */
export const REMARKS: Readonly<Record<string, string>> = {
  bulk:
    'Remaining time: a hash thread that was idle for a while is started anew. Then each layer is read and ' +
    'hashed once, with one thread per core; layers of equal size are distributed evenly.',
  foreign:
    'Remaining time: writing to the disk, which alone takes 1.4 s (`sync -f` after `cp`), and in parallel ' +
    'hashing, 0.8 s on both cores. Another thread syncs a layer, starting after its first 32 MiB. Tested in ' +
    'C, and slower: `O_DIRECT` (2.6 to 4.2 s with 2 to 8 writes at once), `sync_file_range` (3.1 s), ' +
    '`copy_file_range` before hashing (2.3 s). No difference: steps of 16 or 64 MiB, 1 or 4 threads that ' +
    'sync, reads of 256 KiB.',
  latency:
    'Remaining time, of 7.9 ms (measured with a daemon that logs the duration of its jobs): 0.4 until the ' +
    'scan of the inbox begins, 0.5 the scan, 3.2 to check whether the drop is complete, to claim it and to ' +
    'store it, 0.5 for the lock, 3.6 to build the snapshot, 0.5 the flip. On a tmpfs the total is 3.4 to 3.8 ' +
    'ms. The rest is the disk: some 20 syncs (0.06 to 0.3 ms each, one after the other, because each depends ' +
    'on the previous one) and 17 new files and directories (this ext4 has no journal; it creates each in ' +
    '0.02 ms, or in up to 0.3 when thousands were removed within minutes). Three times as fast as the script ' +
    'would be about 2.5 ms. The syncs alone take two, and the script makes none, so a publisher that syncs ' +
    'cannot reach that row. Tested in C: syncs of 10 files and directories from four threads (0.6 ms instead ' +
    'of 1.2), syncfs for all of them (0.3 ms; Node has no syncfs, and a process for it takes 5).',
  drops:
    'Remaining time: the processors are 80 to 90 % busy with dropdock, and with the dropping and watching ' +
    'processes. Half of the 2.6 ms per drop is kernel time (of the total: syncs 8 %, opening files 6, one ' +
    'component at a time and through no link, hard links 6, stats 5, renames 4). Checking, claiming and ' +
    'storing a drop takes 30 to 35 % of the total, the snapshots 13 %, the main thread 11 (a fifth of that ' +
    'is the log), compiling JavaScript, anew for each thread, 8, garbage collection 5. On a tmpfs the rate ' +
    'is 750 drops a second instead of 600 on the disk. Ten times the script that syncs nothing would be 1.6 ' +
    'ms per drop on both processors. Each drop needs some 180 system calls, each through Node; 40 of the 100 ' +
    'calls for the claim could be saved by trusting earlier checks, which would be a seventh. Tested without ' +
    'gain: three or four threads (a fifth more computing for the same), V8 flags (when to compile, feedback ' +
    'at once, on-stack replacement, collecting in one thread), more or less young memory, a sync for each ' +
    'file, a second of drops per job; with a gain of 1 to 3 % and not kept: a scan shared by two threads, a ' +
    'claim that uses directories that are already open. The script starts five processes for each drop. On ' +
    'days when starting a process was slow (47 ms per drop for the script instead of 8, on the same ' +
    'machine), the ratio was 9.8 before dropdock’s cost per drop was more than halved.',
  tags:
    'Remaining time: writing `.snapshot.json` (16 MB for 10,000 tags) and the redirect file, and walking ' +
    'over the cached previous snapshot, to merge the drop and to find the changes. All other work is done ' +
    'only for the changes: their lines, files and syncs. Without a spare tree, a publish makes six hard ' +
    'links for each existing tag.',
  cleaning:
    'Remaining time: `rm` is used here too, one process for each huge directory, one after the other so that ' +
    'publishes and pulls have priority (two at once take half as long, measured without other load). In ' +
    'addition, a spare tree of that repository is made meanwhile, 60,000 links.',
  rest:
    'Remaining time: nearly all of it is the heartbeat every 2.5 s. Memory: of the difference to bare Node, ' +
    '10 MiB are pages of the node program itself, and another schema library (95 files more) would add 3. ' +
    'One thread stays (6 MiB); the compiled program has no comments (0.8 MiB), and the unit lets the C ' +
    'library keep less memory for each thread (4 MiB).',
  archive:
    'Remaining time: writing the layers, as with foreign files. zlib inflates in one thread.',
};
