import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import {
  ensureDirectory,
  listIfThere,
  readFile,
  readLinkIfThere,
  replaceFile,
  replaceLink,
  writeNewFile,
} from '#src/storage/durable.js';
import { removeOwnTree, removeTree } from '#src/storage/remove-tree.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('durable', () => {
  let root: string;
  let umask: number;
  const at = (...names: string[]) => join(root, ...names);
  const mode = (path: string) => statSync(path).mode & 0o7777;
  const failing = (verb: keyof Disk) =>
    interfereWith(nodeDisk, (operation) => {
      if (operation.verb === verb) throw systemError('EIO', operation);
    });

  beforeEach(() => {
    root = tempDir();
    umask = process.umask(0o077);
  });
  afterEach(() => {
    process.umask(umask);
    removeTempDirs();
  });

  describe('optional reads', () => {
    it('return undefined for missing files, without an error', () => {
      writeFileSync(at('file'), '');
      expect(nodeDisk.statIfThere(at('none'))).to.equal(undefined);
      expect(nodeDisk.statIfThere(at('file', 'below'))).to.equal(undefined);
      expect(readLinkIfThere(nodeDisk, at('none'))).to.equal(undefined);
      expect(readLinkIfThere(nodeDisk, at('file'))).to.equal(undefined);
      expect(listIfThere(nodeDisk, at('none'))).to.deep.equal([]);
    });

    it('propagate every other error', () => {
      expect(() => nodeDisk.statIfThere(at('x'.repeat(300)))).to.throw('ENAMETOOLONG');
      expect(() => readLinkIfThere(failing('readLink'), at('x'))).to.throw('EIO');
      expect(() => listIfThere(failing('list'), at('x'))).to.throw('EIO');
    });
  });

  describe('readFile', () => {
    it('reads a complete file, however few bytes one read returns', () => {
      writeFileSync(at('file'), 'a few bytes');
      const disk: Disk = {
        ...nodeDisk,
        read: (fd, into, length, position) =>
          nodeDisk.read(fd, into, Math.min(length, 2), position),
      };
      expect(readFile(disk, at('file'), 100).toString()).to.equal('a few bytes');
    });

    it('rejects a file above the size limit: limit.exceeded', () => {
      writeFileSync(at('file'), '12345');
      expect(readFile(nodeDisk, at('file'), 5).toString()).to.equal('12345');
      expect(refusal(() => readFile(nodeDisk, at('file'), 4)).code).to.equal('limit.exceeded');
    });

    it('does not follow links', () => {
      writeFileSync(at('file'), '');
      symlinkSync('file', at('link'));
      expect(() => readFile(nodeDisk, at('link'), 10)).to.throw('ELOOP');
    });
  });

  describe('writeNewFile', () => {
    it('sets the mode whatever the umask, and the time', () => {
      writeNewFile(nodeDisk, at('file'), Buffer.from('text'), { mode: 0o444, mtime: 1_000_000 });
      expect(readFileSync(at('file'), 'utf8')).to.equal('text');
      expect(mode(at('file'))).to.equal(0o444);
      expect(statSync(at('file')).mtimeMs).to.equal(1_000_000_000);
    });

    it('does not overwrite files, not even through links', () => {
      writeFileSync(at('file'), 'old');
      symlinkSync('elsewhere', at('link'));
      for (const name of ['file', 'link']) {
        const write = () => writeNewFile(nodeDisk, at(name), Buffer.from('new'), { mode: 0o644 });
        expect(write).to.throw('EEXIST');
      }
      expect(readFileSync(at('file'), 'utf8')).to.equal('old');
      expect(existsSync(at('elsewhere'))).to.equal(false);
    });
  });

  describe('replaceFile', () => {
    const replace = (disk: Disk) =>
      replaceFile(disk, at('file'), Buffer.from('new'), at('file.tmp'), 0o640);

    it('replaces the file and the remains of an earlier attempt', () => {
      writeFileSync(at('file'), 'old');
      writeFileSync(at('file.tmp'), 'left behind');
      replace(nodeDisk);
      expect(readFileSync(at('file'), 'utf8')).to.equal('new');
      expect(mode(at('file'))).to.equal(0o640);
      expect(readdirSync(root)).to.deep.equal(['file']);
    });

    for (const verb of ['write', 'sync', 'rename'] as const) {
      it(`keeps the old file when ${verb} fails, and leaves no temporary file`, () => {
        writeFileSync(at('file'), 'old');
        expect(() => replace(failing(verb))).to.throw('EIO');
        expect(readFileSync(at('file'), 'utf8')).to.equal('old');
        expect(readdirSync(root)).to.deep.equal(['file']);
      });
    }

    it('syncs the file before the rename and the directory after it', () => {
      const verbs: string[] = [];
      replace(interfereWith(nodeDisk, ({ verb }) => verbs.push(verb)));
      const kept = verbs.filter((verb) => verb === 'sync' || verb === 'rename');
      expect(kept).to.deep.equal(['sync', 'rename', 'sync']);
    });
  });

  describe('replaceLink', () => {
    it('replaces a link atomically, and the remains of an earlier attempt', () => {
      symlinkSync('old', at('link'));
      symlinkSync('left', at('.tmp'));
      replaceLink(nodeDisk, 'new', at('link'), at('.tmp'));
      expect(readlinkSync(at('link'))).to.equal('new');
      expect(readdirSync(root)).to.deep.equal(['link']);
    });

    it('keeps the old link when the rename fails', () => {
      symlinkSync('old', at('link'));
      expect(() => replaceLink(failing('rename'), 'new', at('link'), at('.tmp'))).to.throw('EIO');
      expect(readlinkSync(at('link'))).to.equal('old');
      expect(readdirSync(root)).to.deep.equal(['link']);
    });
  });

  describe('ensureDirectory', () => {
    it('creates missing directories, readable by web servers whatever the umask', () => {
      ensureDirectory(nodeDisk, at('a', 'b', 'c'));
      for (const path of [at('a'), at('a', 'b'), at('a', 'b', 'c')]) {
        expect(mode(path)).to.equal(0o755);
      }
    });

    it('sets the requested mode on the last directory', () => {
      ensureDirectory(nodeDisk, at('a', 'private'), 0o700);
      expect([mode(at('a')), mode(at('a', 'private'))]).to.deep.equal([0o755, 0o700]);
    });

    it('keeps an existing directory as its owner created it', () => {
      mkdirSync(at('a'));
      chmodSync(at('a'), 0o2775);
      ensureDirectory(nodeDisk, at('a'));
      expect(mode(at('a'))).to.equal(0o2775);
    });

    it('succeeds when another process creates the directory first', () => {
      const disk: Disk = {
        ...nodeDisk,
        makeDirectory: (path) => {
          mkdirSync(path);
          nodeDisk.makeDirectory(path);
        },
      };
      ensureDirectory(disk, at('a'));
      expect(statSync(at('a')).isDirectory()).to.equal(true);
    });
  });

  describe('removeTree', () => {
    it('removes a tree, and links in it but not their targets', () => {
      mkdirSync(at('tree', 'inner'), { recursive: true });
      mkdirSync(at('kept'));
      writeFileSync(at('kept', 'file'), '');
      symlinkSync(at('kept'), at('tree', 'inner', 'link'));
      writeFileSync(at('tree', 'file'), '');
      removeTree(nodeDisk, at('tree'));
      expect(readdirSync(root)).to.deep.equal(['kept']);
      expect(readdirSync(at('kept'))).to.deep.equal(['file']);
    });

    it('removes a link passed to it, and accepts a missing path', () => {
      mkdirSync(at('kept'));
      symlinkSync('kept', at('link'));
      removeTree(nodeDisk, at('link'));
      removeTree(nodeDisk, at('none'));
      expect(readdirSync(root)).to.deep.equal(['kept']);
    });

    it('makes directories writable that an uploader made read-only', () => {
      mkdirSync(at('tree', 'inner'), { recursive: true });
      writeFileSync(at('tree', 'inner', 'file'), '');
      chmodSync(at('tree', 'inner'), 0o500);
      let opened: number | undefined;
      const disk: Disk = {
        ...nodeDisk,
        unlink: (path) => {
          opened = mode(at('tree', 'inner'));
          nodeDisk.unlink(path);
        },
      };
      removeTree(disk, at('tree'));
      expect(opened).to.equal(0o700);
      expect(readdirSync(root)).to.deep.equal([]);
    });

    it('succeeds when another process removes entries meanwhile', () => {
      mkdirSync(at('tree'));
      writeFileSync(at('tree', 'file'), '');
      const disk: Disk = {
        ...nodeDisk,
        unlink: (path) => {
          nodeDisk.unlink(path);
          nodeDisk.unlink(path);
        },
      };
      removeTree(disk, at('tree'));
      expect(readdirSync(root)).to.deep.equal([]);
    });

    for (const remove of [removeTree, removeOwnTree]) {
      it(`${remove.name}: removes names that are not valid text, and their content`, () => {
        const odd = Buffer.concat([Buffer.from(`${at('tree')}/`), Buffer.from([0xff, 0xfe])]);
        mkdirSync(at('tree', '\uFFFD'), { recursive: true });
        writeFileSync(at('tree', '\uFFFD', 'file'), '');
        mkdirSync(odd);
        writeFileSync(Buffer.concat([odd, Buffer.from('/file')]), '');
        writeFileSync(Buffer.concat([odd, Buffer.from([0x2f, 0xc0])]), '');
        remove(nodeDisk, at('tree'));
        expect(readdirSync(root)).to.deep.equal([]);
      });

      it(`${remove.name}: removes trees deeper than the descriptor limit and the path limit`, () => {
        const names = Array.from({ length: 100 }, () => 'x'.repeat(20));
        mkdirSync(at('tree', ...names), { recursive: true });
        writeFileSync(at('tree', ...names, 'file'), '');
        remove(nodeDisk, at('tree'));
        expect(readdirSync(root)).to.deep.equal([]);
      });
    }

    for (const [how, removeByProgram] of [
      ['leaves huge trees to rm', nodeDisk.removeByProgram],
      ['removes huge trees itself without rm', () => {}],
    ] as const) {
      it(`${how}, and only in a tree of our own`, () => {
        for (const [remove, times] of [
          [removeOwnTree, 1],
          [removeTree, 0],
        ] as const) {
          mkdirSync(at('tree', '-inner'), { recursive: true });
          mkdirSync(at('kept'), { recursive: true });
          writeFileSync(at('kept', 'file'), '');
          symlinkSync(at('kept'), at('tree', '-inner', 'link'));
          for (let each = 0; each < 5000; each++)
            writeFileSync(at('tree', '-inner', `${each}`), '');
          const asked: string[] = [];
          const disk: Disk = {
            ...nodeDisk,
            removeByProgram: (path) => {
              asked.push(path);
              removeByProgram(path);
            },
          };
          remove(disk, at('tree'));
          expect(asked).to.have.length(times);
          expect(readdirSync(root)).to.deep.equal(['kept']);
          expect(readdirSync(at('kept'))).to.deep.equal(['file']);
        }
      });
    }

    it('never follows a directory that was replaced by a link after it was opened', () => {
      mkdirSync(at('tree', 'inner'), { recursive: true });
      mkdirSync(at('kept'));
      for (const place of ['kept', 'tree/inner']) writeFileSync(at(place, 'file'), '');
      const disk: Disk = {
        ...nodeDisk,
        names: (path) => {
          const names = nodeDisk.names(path);
          if (names.includes('file') && existsSync(at('tree', 'inner', 'file'))) {
            renameSync(at('tree', 'inner'), at('tree', 'elsewhere'));
            symlinkSync(at('kept'), at('tree', 'inner'));
          }
          return names;
        },
      };
      removeTree(disk, at('tree'));
      expect(readdirSync(root)).to.deep.equal(['kept']);
      expect(readdirSync(at('kept'))).to.deep.equal(['file']);
    });
  });
});
