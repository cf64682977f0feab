/** `vsky`: runs the command, and says in words and by its exit code what went wrong. */
import { CommanderError } from 'commander'
import { exitCodes, explain } from './explain.js'
import { createProgram } from './program.js'

const program = createProgram()
process.stdout.on('error', () => process.exit(0)) // the reader of a pipe has seen enough
try {
  await program.parseAsync()
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exit(thrown.exitCode === 0 ? 0 : exitCodes.usage)
  const { code, text, json } = explain(thrown)
  console.error(program.opts<{ json?: boolean }>().json === true ? JSON.stringify(json) : text)
  process.exit(code)
}
