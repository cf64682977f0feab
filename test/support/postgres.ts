/** The PostgreSQL that all tests of a run share: started by who first needs it, removed at the end. */
import { PostgresServer } from '../../tools/lab/postgres-server.js'

let shared: Promise<PostgresServer> | undefined
/** The one that all tests share. */
export function postgres(): Promise<PostgresServer> {
  shared ??= PostgresServer.create()
  return shared
}
after('the PostgreSQL of the tests', async function removePostgres() {
  this.timeout(30_000)
  await (await shared)?.remove()
})
