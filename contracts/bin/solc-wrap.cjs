'use strict';
// Answers the two calls that forge makes of a compiler: `solc --version`, and
// `solc --standard-json [--base-path P] [--include-path P]...` with the input on stdin.

const fs = require('node:fs');
const path = require('node:path');

const arguments_ = process.argv.slice(2);
const modules = path.join(__dirname, '..', 'node_modules');

const solc = require(path.join(modules, 'solc'));
// The WebAssembly build installs a handler that prints its whole source on a failure.
process.removeAllListeners('uncaughtException');
process.removeAllListeners('unhandledRejection');

/** The values given to an option, in order. */
function values(option) {
  return arguments_.flatMap((argument, at) => (argument === option ? [arguments_[at + 1]] : []));
}

/** Writes everything to stdout: a pipe of node's does not block, so a full one answers EAGAIN. */
function writeWhole(text) {
  const bytes = Buffer.from(text);
  let written = 0;
  while (written < bytes.length) {
    try {
      written += fs.writeSync(1, bytes, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Reads an import that forge did not put into the input. */
function findImport(name) {
  for (const base of [...values('--base-path'), ...values('--include-path')]) {
    const file = path.join(base, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, 'utf8') };
  }
  return { error: `File not found: ${name}` };
}

if (arguments_.includes('--version')) {
  writeWhole(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (arguments_.includes('--standard-json')) {
  writeWhole(solc.compile(fs.readFileSync(0, 'utf8'), { import: findImport }));
} else {
  process.stderr.write('solc-wrap: only --version and --standard-json are answered\n');
  process.exitCode = 2;
}
