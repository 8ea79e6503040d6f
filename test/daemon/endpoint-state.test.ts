import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import {
  addressOf,
  endpointText,
  explainCertificate,
  explainListen,
  ProblemLog,
  REMIND_MS,
} from '#src/daemon/endpoint-state.js';
import type { Listen } from '#src/registry/server.js';
import { parseListen } from '#src/registry/server.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const place = (listen: string) => parseListen(listen) as Listen;
const failed = (code: string, syscall = 'listen', path?: string) =>
  Object.assign(new Error(`${syscall} ${code}`), { code, syscall, ...(path && { path }) });

describe('an endpoint that cannot listen', () => {
  it('is named as in the settings', () => {
    for (const listen of [':443', '127.0.0.1:5000', '[::1]:5000', '/run/dock']) {
      expect(addressOf(place(listen))).to.equal(listen);
    }
    expect(addressOf({ fd: 3 })).to.equal('socket 3 of systemd');
  });

  it('below port 1024 names the capability and the drop-in', () => {
    const { message, hint, code } = explainListen(place(':443'), failed('EACCES'));
    expect(message).to.contain('port 443').and.contain('CAP_NET_BIND_SERVICE');
    expect(hint)
      .to.contain('AmbientCapabilities=CAP_NET_BIND_SERVICE')
      .and.contain('systemctl edit');
    expect(code).to.equal('EACCES');
    expect(explainListen(place(':4430'), failed('EACCES')).message).to.equal('listen EACCES');
  });

  it('is told by the same lines as the drop-in that ships with dropdock and its manual', () => {
    const { hint = '' } = explainListen(place(':443'), failed('EACCES'));
    const files = ['config/systemd/ports-below-1024.conf', 'docs/man/dropdock.service.8.in'];
    for (const line of ['AmbientCapabilities=', 'CapabilityBoundingSet='].map(
      (name) => `${name}CAP_NET_BIND_SERVICE`,
    )) {
      expect(hint).to.contain(line);
      for (const file of files) expect(readFileSync(`${ROOT}/${file}`, 'utf8')).to.contain(line);
    }
    for (const file of files) {
      expect(readFileSync(`${ROOT}/${file}`, 'utf8')).to.contain('PrivateUsers=no');
    }
  });

  it('says what is wrong with the address', () => {
    const inUse = explainListen(place('127.0.0.1:5000'), failed('EADDRINUSE'));
    expect(inUse.message).to.equal('another process uses this address');
    expect(inUse.hint).to.contain('DROPDOCK_REGISTRY_LISTEN=');
    const other = explainListen(place('10.9.8.7:5000'), failed('EADDRNOTAVAIL'));
    expect(other.message).to.contain('does not have this address');
    const socket = explainListen(place('/nowhere/socket'), failed('ENOENT'));
    expect(socket.message).to.contain('cannot create the socket /nowhere/socket');
    expect(socket.hint).to.contain('directory');
  });

  it('says which file of the certificate is missing or unreadable', () => {
    const gone = explainCertificate(place(':443'), failed('ENOENT', 'open', '/etc/x.pem'));
    expect(gone.message).to.equal('the certificate or key /etc/x.pem does not exist');
    const closed = explainCertificate(place(':443'), failed('EACCES', 'open', '/etc/x.key'));
    expect(closed.message).to.contain('cannot read the certificate or key /etc/x.key');
    expect(closed.hint).to.contain('chgrp dropdock /etc/x.key');
  });

  it('is in the line for systemctl status, before anything else', () => {
    const problems = [explainListen(place(':5000'), failed('EADDRINUSE'))];
    expect(endpointText({ urls: ['http://127.0.0.1:1'], problems })).to.equal(
      'NOT LISTENING at :5000: another process uses this address; Pulls at http://127.0.0.1:1',
    );
    expect(endpointText({ urls: [], problems: [] })).to.equal('No pulls');
  });

  it('is logged when the reason is new, and again from time to time', () => {
    const said: string[] = [];
    let nowMs = 0;
    const problems = new ProblemLog(
      (level, event, fields) => said.push(`${level} ${event} ${fields?.message}`),
      'registry.failed',
      () => nowMs,
    );
    const tell = (message: string) => {
      problems.tell({ address: ':1', code: 'E', message }, '2s');
      return said.pop();
    };
    expect(tell('one')).to.equal('error registry.failed one');
    expect(tell('one')).to.equal('debug registry.failed one');
    expect(tell('two')).to.equal('error registry.failed two');
    nowMs = REMIND_MS - 1;
    expect(tell('two')).to.equal('debug registry.failed two');
    nowMs = REMIND_MS;
    expect(tell('two')).to.equal('error registry.failed two');
    expect(tell('two')).to.equal('debug registry.failed two');
  });
});
