/**
 * The log: one JSON object a line, written synchronously to standard output, where the service manager keeps it. Synchronous on
 * purpose: asynchronous destinations were seen to lose every line at exit, at a throw and at a kill.
 */
import { pino } from 'pino'
import type { DestinationStream, Logger } from 'pino'
import type { Log, LogFields } from '../ports.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogOptions {
  /** Which process writes: `vsky-agent`. */
  readonly name: string
  readonly level: LogLevel
  /** Default: standard output. */
  readonly stream?: DestinationStream
}

/**
 * Makes a log. A line has `level`, `time` (ISO 8601, UTC), `name`, the fields and `msg`. A field whose name ends in secret,
 * password or key is written as `***`: the last net under the rule that secrets are never logged.
 */
export function createLog({ name, level, stream = pino.destination({ dest: 1, sync: true }) }: LogOptions): Log {
  const options = { level, base: { name }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) } }
  return wrap(pino(options, stream))
}

function wrap(logger: Logger): Log {
  return {
    debug(message, fields = {}) { if (logger.isLevelEnabled('debug')) logger.debug(redacted(fields), message) },
    info(message, fields = {}) { logger.info(redacted(fields), message) },
    warn(message, fields = {}) { logger.warn(redacted(fields), message) },
    error(message, fields = {}) { logger.error(redacted(fields), message) },
    child: (fields) => wrap(logger.child(redacted(fields))),
  }
}

function redacted(fields: LogFields): LogFields {
  const names = Object.keys(fields)
  if (!names.some((name) => secretName.test(name))) return fields
  return Object.fromEntries(names.map((name) => [name, secretName.test(name) ? '***' : fields[name]]))
}

const secretName = /(secret|password|key)$/i
