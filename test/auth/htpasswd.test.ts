/** Parsing of the password file and of the Authorization header, and what is rejected. */
import { expect } from 'chai';
import { parseAuthorization, parseHtpasswd } from '#src/auth/htpasswd.js';
import { htpasswdLine } from '../support/passwords.js';

const BCRYPT = htpasswdLine('x', 'secret').slice(2);
const header = (text: string | Buffer) => `Basic ${Buffer.from(text).toString('base64')}`;

describe('parseHtpasswd', () => {
  it('reads bcrypt hashes with each of their three prefixes', () => {
    const hashes = ['$2a$', '$2b$', '$2y$'].map((prefix) => prefix + BCRYPT.slice(4));
    const text = hashes.map((hash, n) => `user${n}:${hash}\n`).join('');
    const { passwords, ignored } = parseHtpasswd(text);
    expect([...passwords]).to.deep.equal(hashes.map((hash, n) => [`user${n}`, hash]));
    expect(ignored).to.deep.equal([]);
  });

  it('skips empty lines and comments, and accepts Windows line endings', () => {
    const { passwords, ignored } = parseHtpasswd(`# all\r\n\r\nalice:${BCRYPT}\r\n  \n#bob:x\n`);
    expect([...passwords]).to.deep.equal([['alice', BCRYPT]]);
    expect(ignored).to.deep.equal([]);
  });

  it('rejects and reports other hashes, plain passwords and incomplete lines', () => {
    const lines = [
      'apr:$apr1$abcdefgh$0123456789012345678901',
      'sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=',
      'crypt:rqXexS6ZhobKA',
      'plain:secret',
      'cut:$2y$05$abc',
      `long:${BCRYPT}x`,
      'empty:',
      'nothing',
      `:${BCRYPT}`,
    ];
    const { passwords, ignored } = parseHtpasswd(lines.join('\n'));
    expect(passwords.size).to.equal(0);
    expect(ignored).to.deep.equal([
      ...['apr', 'sha', 'crypt', 'plain', 'cut', 'long', 'empty'],
      'line 8',
      'line 9',
    ]);
  });

  it('reads an empty file as a file without users', () => {
    expect(parseHtpasswd('')).to.deep.equal({ passwords: new Map(), ignored: [] });
  });
});

describe('parseAuthorization', () => {
  it('splits name and password at the first colon, and accepts any password', () => {
    const read = (text: string) => parseAuthorization(header(text));
    expect(read('alice:secret')).to.deep.equal({ user: 'alice', password: 'secret' });
    expect(read('alice:a:b:')).to.deep.equal({ user: 'alice', password: 'a:b:' });
    expect(read('alice:')).to.deep.equal({ user: 'alice', password: '' });
    expect(read(':secret')).to.deep.equal({ user: '', password: 'secret' });
    expect(read('änne:пароль')).to.deep.equal({ user: 'änne', password: 'пароль' });
    expect(parseAuthorization(`bAsIc   ${btoa('a:b')} `)).to.deep.equal({
      user: 'a',
      password: 'b',
    });
  });

  it('treats no header, and an empty name with an empty password, as anonymous', () => {
    expect(parseAuthorization(undefined)).to.equal('anonymous');
    expect(parseAuthorization(header(':'))).to.equal('anonymous');
  });

  it('rejects other schemes and malformed headers', () => {
    const wrong = [
      '',
      'Basic',
      'Basic ',
      'Bearer abc',
      'Basic !!!',
      'Basic a b',
      header('nocolon'),
    ];
    for (const text of [...wrong, `Digest ${btoa('a:b')}`, 'Basic ====']) {
      expect(parseAuthorization(text), text).to.equal('malformed');
    }
  });
});
