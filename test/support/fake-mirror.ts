import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { runCommand } from '../../common/run-command.ts';

/** An entry of a tar archive; type 0 is a file, 1 a hard link, 2 a link, 3 a device, 5 a folder, 6 a pipe. */
export interface TarEntry {
  readonly name: string;
  readonly type?: '0' | '1' | '2' | '3' | '5' | '6';
  readonly body?: string | Buffer;
  /** Where a link leads to. */
  readonly link?: string;
  readonly mode?: number;
}

/** A tar archive (POSIX ustar). Nothing about the names is checked: that is for its reader. */
function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ name, type = '0', body = '', link = '', mode = 0o755 }) => {
    const bytes = Buffer.from(body);
    const head = Buffer.alloc(512);
    const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;
    head.write(name, 0);
    head.write(octal(mode, 8) + octal(0, 8) + octal(0, 8) + octal(bytes.length, 12) + octal(0, 12), 100);
    head.write(`        ${type}`, 148);
    head.write(link, 157);
    head.write('ustar\x0000', 257);
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(octal(sum, 7), 148);
    return [head, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** A Debian package: an ar archive of its version, its scripts and its files. */
export function deb(control: string, scripts: readonly TarEntry[], files: readonly TarEntry[]): Buffer {
  const members: [name: string, bytes: Buffer][] = [
    ['debian-binary', Buffer.from('2.0\n')],
    ['control.tar.gz', gzipSync(tar([{ name: './control', body: control }, ...scripts]))],
    ['data.tar.gz', gzipSync(tar(files), { level: 1 })],
  ];
  const parts = members.flatMap(([name, bytes]) => {
    const head = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6).repeat(2)}${'100644'.padEnd(8)}`;
    return [Buffer.from(`${head}${String(bytes.length).padEnd(10)}\`\n`), bytes, Buffer.alloc(bytes.length % 2, '\n')];
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A key pair that signs releases. */
export interface SigningKey {
  /** What apt's Signed-By takes. */
  readonly keyring: string;
  /** The text with its signature, as an InRelease file has it. */
  clearSign(text: string): Promise<string>;
  /** The signature alone, as a Release.gpg file has it. */
  detachedSign(text: string): Promise<string>;
  /** Ends gpg's helper processes. */
  close(): Promise<void>;
}

/** Makes a key with gpg in a new folder, which needs a short path. */
export async function makeKey(folder: string): Promise<SigningKey> {
  mkdirSync(folder, { mode: 0o700 });
  const gpg = (...args: string[]): Promise<string> =>
    runCommand('gpg', ['--homedir', folder, '--batch', '--quiet', '--yes', '--passphrase', '', ...args]);
  await gpg('--quick-generate-key', 'mirror@example.org', 'ed25519', 'sign', 'never');
  const keyring = join(folder, 'keyring.gpg');
  await gpg('--output', keyring, '--export');
  let count = 0;
  const sign = async (how: string, text: string): Promise<string> => {
    const file = join(folder, `text-${count++}`); // several may be signed at once
    writeFileSync(file, text);
    await gpg('--armor', '--output', `${file}.asc`, how, file);
    return readFileSync(`${file}.asc`, 'utf8');
  };
  return {
    keyring,
    clearSign: (text) => sign('--clearsign', text),
    detachedSign: (text) => sign('--detach-sign', text),
    close: async () => void (await runCommand('gpgconf', ['--homedir', folder, '--kill', 'all'])),
  };
}

/** What a mirror holds otherwise than an honest one. */
export interface MirrorPlan {
  /** Files of the package mesa-vulkan-drivers, after the driver's own. */
  readonly files?: readonly TarEntry[];
  /** That package, instead of one that is made. */
  readonly package?: Buffer;
  /** Changes the list of packages before it is hashed and signed. */
  readonly list?: (text: string) => string;
  /** Changes what the release says before it is signed. */
  readonly release?: (text: string) => string;
  /** Signs it otherwise. */
  readonly sign?: (text: string) => string | Promise<string>;
  /** Adds, changes and removes files last of all: no hash or signature knows. */
  readonly change?: (files: Map<string, Buffer>, release: string) => void | Promise<void>;
}

const folder = 'dists/forky/main/binary-amd64';
export const mirrorPaths = {
  release: 'dists/forky/InRelease',
  list: `${folder}/Packages.gz`,
  package: 'pool/mesa.deb',
} as const;

/** A release's date as its file has it. */
export const releaseDate = (time: number): string => new Date(time).toUTCString().replace('GMT', 'UTC');

/**
 * The files of a mirror with the release forky and the packages that the driver comes in, by their paths.
 * `canary` is a file that any script of theirs, and their dynamic linker, would write.
 */
export async function mirrorFiles(key: SigningKey, canary: string, plan: MirrorPlan): Promise<Map<string, Buffer>> {
  const script = `#!/bin/sh\necho ran >> ${canary}\n`;
  const scripts = ['preinst', 'postinst', 'config'].map((name) => ({ name: `./${name}`, body: script }));
  const lib = './usr/lib/x86_64-linux-gnu';
  const names = ['libvulkan_lvp.so', 'libvulkan_radeon.so', 'libc.so.6', 'ld-linux-x86-64.so.2', 'libz.so.1.3'];
  const files: TarEntry[] = [
    ...names.map((name) => ({ name: `${lib}/${name}`, body: script })),
    { name: `${lib}/libz.so.1`, type: '2', link: 'libz.so.1.3' },
    { name: './usr/lib64', type: '2', link: 'lib/x86_64-linux-gnu' },
    ...(plan.files ?? []),
  ];
  const control = (name: string): string =>
    `Package: ${name}\nVersion: 26.1.6-1\nArchitecture: amd64\nMaintainer: M <m@example.org>\nDescription: a test\n`;
  const mesa = plan.package ?? deb(control('mesa-vulkan-drivers'), scripts, files);
  const other = deb(control('other'), scripts, []);
  const stanza = (name: string, path: string, bytes: Buffer): string =>
    `${control(name)}Filename: ${path}\nSize: ${bytes.length}\nSHA256: ${sha256(bytes)}\n\n`;
  const packages =
    stanza('mesa-vulkan-drivers', mirrorPaths.package, mesa) +
    ['libvulkan1', 'libstdc++6', 'libatomic1'].map((name) => stanza(name, 'pool/other.deb', other)).join('');
  const list = Buffer.from(plan.list?.(packages) ?? packages);
  const packed = gzipSync(list);
  const now = Date.now();
  const honest = `Origin: Debian
Label: Debian
Suite: testing
Codename: forky
Date: ${releaseDate(now - 3_600_000)}
Valid-Until: ${releaseDate(now + 7 * 86_400_000)}
Architectures: amd64
Components: main
SHA256:
 ${sha256(list)} ${list.length} main/binary-amd64/Packages
 ${sha256(packed)} ${packed.length} main/binary-amd64/Packages.gz
`;
  const release = plan.release?.(honest) ?? honest;
  const signed = await (plan.sign ?? key.clearSign)(release);
  const all = new Map<string, Buffer>([
    [mirrorPaths.release, Buffer.from(signed)],
    [mirrorPaths.list, packed],
    [mirrorPaths.package, mesa],
    ['pool/other.deb', other],
  ]);
  await plan.change?.(all, release);
  return all;
}

/** Answers a request otherwise; true where it has answered, or will. */
export type MirrorLie = (
  path: string,
  response: ServerResponse,
  bytes: Buffer | undefined,
  request: IncomingMessage,
) => boolean;

/** A Debian mirror on this machine. */
export class FakeMirror {
  files = new Map<string, Buffer>();
  lie: MirrorLie | undefined;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  constructor() {
    this.server = createServer((request, response) => {
      const path = decodeURIComponent(request.url!.slice(1));
      const bytes = this.files.get(path);
      if (this.lie?.(path, response, bytes, request)) return;
      if (bytes) response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
      else response.writeHead(404).end();
    });
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket.on('error', () => undefined));
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
