/** The server limits the resources of a client, closes broken responses, and shuts down on request. */
import { existsSync, readdirSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Answer } from '#src/registry/answer.js';
import { RegistryServer, type Sent, type ServerOptions } from '#src/registry/server.js';
import { openFile } from '#src/storage/serving.js';
import { ask } from '../support/ask.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const PLAIN: Answer = { status: 200, headers: { 'Content-Length': 2 }, body: Buffer.from('ok') };
const BIG = 64 * 1024 * 1024;

describe('the server', () => {
  let directory: string;
  let server: RegistryServer;
  let sent: Sent[];
  let errors: Error[];
  let sockets: Socket[];

  beforeEach(() => {
    directory = tempDir();
    [sent, errors, sockets] = [[], [], []];
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close(0);
    removeTempDirs();
  });

  const make = (answer: ServerOptions['answer'], options: Partial<ServerOptions> = {}) => {
    server = new RegistryServer({
      answer,
      certificate: undefined,
      connections: 100,
      idleMs: 10_000,
      onSent: (each) => void sent.push(each),
      onError: (error) => void errors.push(error),
      ...options,
    });
    return server;
  };
  async function start(
    answer: (request: IncomingMessage) => Promise<Answer> = async () => PLAIN,
    options: Partial<ServerOptions> = {},
  ): Promise<string> {
    await make(answer, options).listen({ host: '127.0.0.1', port: 0 });
    return server.url;
  }
  /** A file of this many bytes, as an answer that promises `promised`. */
  async function answerFile(size: number, promised = size): Promise<Answer> {
    const path = join(directory, 'big');
    writeFileSync(path, '');
    truncateSync(path, size);
    const file = await openFile(path);
    if (file === undefined) throw new Error('no file');
    const headers = { 'Content-Length': promised };
    return { status: 200, headers, body: { file, start: 0, end: promised - 1 } };
  }
  /** A connection on which this is sent; what comes back is in `got`. */
  async function speak(text: string): Promise<{ socket: Socket; got: () => string }> {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    let got = '';
    socket.on('data', (data) => {
      got += data;
    });
    socket.on('error', () => {});
    socket.write(text);
    return { socket, got: () => got };
  }
  const openBigFiles = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
      } catch {
        return false;
      }
    }).length;

  it('answers 503 when the system lacks a resource, 500 for other errors, and keeps running', async () => {
    const codes = ['EMFILE', 'ENFILE', 'ENOMEM', 'ESTALE', 'EIO', 'EACCES', ''];
    const url = await start(async ({ url: path = '' }) => {
      throw Object.assign(new Error('trouble'), {
        code: path.slice(1),
        syscall: 'open',
      });
    });
    for (const code of codes) {
      const reply = await ask(url, `/${code}`);
      const isShort = codes.indexOf(code) < 4;
      expect(reply.status, code).to.equal(isShort ? 503 : 500);
      expect(reply.headers['retry-after']).to.equal(isShort ? '1' : undefined);
      expect(reply.code).to.equal('UNKNOWN');
      expect(reply.body.toString()).to.not.contain('trouble');
    }
    expect(errors).to.have.length(codes.length);
  });

  it('retries once when another host replaced a file during the lookup (ESTALE)', async () => {
    let looks = 0;
    const url = await start(async () => {
      if (++looks % 2 === 1)
        throw Object.assign(new Error('stale'), { code: 'ESTALE', syscall: 'open' });
      return { status: 200, headers: {}, body: Buffer.from('found') };
    });
    expect((await ask(url, '/')).status).to.equal(200);
    expect(looks).to.equal(2);
    expect(errors).to.deep.equal([]);
  });

  it('closes the connection when a file ends before its announced length', async () => {
    const url = await start(() => answerFile(100, 1000));
    const agent = new Agent({ keepAlive: true });
    const outcome = await ask(url, '/', { agent }).then(
      () => 'whole',
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(outcome).to.equal('ECONNRESET');
    await waitFor('the end', () => sent.length === 1);
    expect(sent[0]?.isWhole).to.equal(false);
    agent.destroy();
  });

  it('closes the file when a client disconnects, and after HEAD', async () => {
    const url = await start(() => answerFile(BIG));
    await ask(url, '/', { method: 'HEAD' });
    expect(openBigFiles()).to.equal(0);
    const { socket, got } = await speak('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await waitFor('the first bytes', () => got().length > 0);
    expect(openBigFiles()).to.equal(1);
    socket.destroy();
    await waitFor('the file to be closed', () => openBigFiles() === 0);
    await waitFor('the log', () => sent.length === 2);
    expect(sent.map(({ isWhole }) => isWhole)).to.deep.equal([true, false]);
  });

  it('answers pipelined requests one at a time, and frees all on disconnect', async () => {
    await start(() => answerFile(BIG));
    const { socket, got } = await speak('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(300));
    await waitFor('the first bytes', () => got().length > 0);
    socket.pause();
    expect(openBigFiles()).to.equal(1);
    socket.destroy();
    await waitFor('the file to be closed', () => openBigFiles() === 0);
    const three = await speak('HEAD / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3));
    await waitFor('three answers', () => three.got().split('200 OK').length === 4);
    expect(errors).to.deep.equal([]);
  });

  it('logs a file that cannot be read, but not a client that disconnects', async () => {
    const url = await start(async () => {
      const answer = await answerFile(BIG);
      const { file } = answer.body as { file: { close(): Promise<void> } };
      await file.close();
      return answer;
    });
    await ask(url, '/').catch(() => undefined);
    await waitFor('the error', () => errors.length === 1);
    expect(sent.map(({ isWhole }) => isWhole)).to.deep.equal([false]);
  });

  it('closes an idle connection: after half a request, half a read, or no data', async () => {
    await start(() => answerFile(BIG), { idleMs: 300 });
    const half = await speak('GET /v2/ HTTP/1.1\r\nHost:');
    const silent = await speak('');
    const reader = await speak('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await waitFor('the first bytes', () => reader.got().length > 0);
    reader.socket.pause();
    for (const { socket } of [half, silent]) await waitFor('its end', () => socket.closed);
    await waitFor('the file to be closed', () => openBigFiles() === 0);
    expect((await ask(server.url, '/', { method: 'HEAD' })).status).to.equal(200);
  });

  it('rejects headers over 32 KiB, and accepts as many ranges as podman sends', async () => {
    const url = await start();
    const { status } = await ask(url, '/', { headers: { 'x-long': 'x'.repeat(33_000) } });
    expect(status).to.equal(431);
    // Of a layer of some GiB: no offset has more digits.
    const ranges = Array.from({ length: 1024 }, (_none, n) => `${4e9 + 2 * n}-${4e9 + 2 * n}`);
    const headers = { range: `bytes=${ranges.join(', ')}` };
    expect((await ask(url, '/', { headers })).status).to.equal(200);
  });

  it('reads no request body: it answers at once and closes the connection', async () => {
    const url = await start();
    for (const method of ['GET', 'POST', 'PUT']) {
      const head = `${method} / HTTP/1.1\r\nHost: x\r\n`;
      const endless = await speak(`${head}Content-Length: 99999999999\r\n\r\nsome`);
      await waitFor('the end', () => endless.socket.closed);
      expect(endless.got(), method)
        .to.match(/^HTTP\/1.1 200 OK/)
        .and.match(/connection: close/i);
      const chunked = await speak(`${head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`);
      await waitFor('the end', () => chunked.socket.closed);
      expect(chunked.got()).to.match(/^HTTP\/1.1 200 OK/);
    }
    const body = Buffer.alloc(1024);
    expect((await ask(url, '/', { method: 'POST', body })).status).to.equal(200);
  });

  it('closes connections beyond its limit at once, and accepts new ones when others end', async () => {
    const url = await start(undefined, { connections: 3 });
    const three = await Promise.all(['', '', ''].map(speak));
    await Promise.all(three.map(({ socket }) => waitFor('it', () => socket.readyState === 'open')));
    const fourth = await speak('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await waitFor('the fourth to be closed', () => fourth.socket.closed);
    expect(fourth.got()).to.equal('');
    for (const { socket } of three) socket.destroy();
    const reply = await waitFor('room', () => ask(url, '/').catch(() => undefined));
    expect(reply.status).to.equal(200);
  });

  it('can retry a port in use any number of times, and listens when it is free', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await waitFor('the other', () => other.listening);
    const { port } = other.address() as { port: number };
    make(async () => PLAIN);
    for (let attempt = 0; attempt < 15; attempt++) {
      const code = await server.listen({ host: '127.0.0.1', port }).then(
        () => 'listens',
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(code).to.equal('EADDRINUSE');
    }
    await new Promise((resolve) => other.close(resolve));
    await server.listen({ host: '127.0.0.1', port });
    expect((await ask(server.url, '/')).status).to.equal(200);
  });

  it('replaces the socket of a dead process, but not that of a living one, nor a file', async () => {
    const path = join(directory, 'socket');
    make(async () => PLAIN);
    await server.listen({ path });
    expect(server.url).to.equal(path);
    expect((await ask(path, '/')).status).to.equal(200);
    const second = new RegistryServer(OPTIONS);
    const taken = await second.listen({ path }).catch((error: NodeJS.ErrnoException) => error.code);
    expect(taken).to.equal('EADDRINUSE');
    expect((await ask(path, '/')).status).to.equal(200);
    const file = join(directory, 'file');
    writeFileSync(file, 'precious');
    const refused = await second.listen({ path: file }).catch((error) => error.code);
    expect([refused, existsSync(file)]).to.deep.equal(['EADDRINUSE', true]);
  });

  it('finishes a download on close, and does not wait for the idle connection', async () => {
    const url = await start(() => answerFile(BIG));
    const agent = new Agent({ keepAlive: true });
    const download = ask(url, '/', { agent });
    await waitFor('the download to begin', () => openBigFiles() === 1);
    const began = performance.now();
    const [{ body }] = await Promise.all([download, server.close(10_000)]);
    expect(body.length).to.equal(BIG);
    expect(performance.now() - began).to.be.lessThan(8000);
    const refused = await ask(url, '/').catch((error: NodeJS.ErrnoException) => error.code);
    expect(refused).to.equal('ECONNREFUSED');
    agent.destroy();
  });

  it('aborts unfinished responses some time after it was closed', async () => {
    await start(() => answerFile(BIG));
    const { socket, got } = await speak('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await waitFor('the first bytes', () => got().length > 0);
    socket.pause();
    await server.close(200);
    await waitFor('the file to be closed', () => openBigFiles() === 0);
  });
});

const OPTIONS: ServerOptions = {
  answer: async () => PLAIN,
  certificate: undefined,
  connections: 1,
  idleMs: 1000,
  onSent: () => {},
  onError: () => {},
};
