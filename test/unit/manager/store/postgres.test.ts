import { expect } from 'chai'
import { systemClock } from '../../../../lib/host/clock.js'
import { systemRandom } from '../../../../lib/host/random.js'
import { DbError, numberOf, textOf } from '../../../../manager/store/db.js'
import type { Db, Tx } from '../../../../manager/store/db.js'
import { eventsAfter } from '../../../../manager/store/events.js'
import { connectPrimary, postgresTimes } from '../../../../manager/store/postgres-session.js'
import { openPostgres } from '../../../../manager/store/postgres.js'
import { migrate, schemaVersion } from '../../../../manager/store/schema.js'
import { takeOver } from '../../../../manager/store/store.js'
import { failureOf, openAt, targetOf } from '../../../support/engines.js'
import { postgres } from '../../../support/postgres.js'
import { PostgresServer } from '../../../../tools/lab/postgres-server.js'

const ports = { clock: systemClock, random: systemRandom }
const event = (name: string): { kind: string; about: 'manager'; name: string; text: string } => ({ kind: 'k', about: 'manager', name, text: '' })
const pidOf = async (tx: Pick<Tx, 'get'>): Promise<number> => numberOf(await tx.get('select pg_backend_pid() as pid') ?? {}, 'pid')

/** Something that a test lets go on. */
function gate(): { readonly passed: Promise<void>; open(): void } {
  let open: () => void = () => undefined
  const passed = new Promise<void>((resolve) => { open = resolve })
  return { passed, open }
}

describe('PostgreSQL', function postgresSuite() {
  this.timeout(60_000)
  let server: PostgresServer
  let database: string
  let db: Db
  const others: Db[] = []
  const open = async (options?: Parameters<typeof openAt>[1]): Promise<Db> => {
    const other = await openAt(server.url(database), options)
    others.push(other)
    return other
  }
  before(async () => {
    server = await postgres()
    database = await server.database()
  })
  beforeEach(async () => {
    await server.empty(database)
    db = await open()
  })
  afterEach(async () => { for (const each of others.splice(0)) await each.close() })

  it('lets no transaction of an old holder commit after a new epoch: the new one waits for those that have proved theirs', async () => {
    await migrate(db)
    const older = await takeOver(db, 'mgr1', ports)
    const [proved, goOn] = [gate(), gate()]
    const late = older.change(async (tx) => {
      proved.open()
      await goOn.passed
      await tx.event(event('late'))
    })
    await proved.passed
    const other = await open()
    let over = false
    const taking = takeOver(other, 'mgr2', ports).then((store) => { over = true; return store })
    while ((await server.sql(`select 1 from pg_stat_activity where datname = '${database}' and wait_event_type = 'Lock'`)).length === 0) { /* until it waits */ }
    expect(over).to.equal(false)
    goOn.open()
    await late
    const newer = await taking
    expect((await eventsAfter(newer.read, 0, 10)).map((each) => each.name), 'what was committed is seen by who took over').to.deep.equal(['late'])
    expect(String(await failureOf(older.change((tx) => tx.event(event('too late')))))).to.contain('epoch 1 is over')
  })

  it('takes back what a transaction did whose session was killed in its middle, says "unavailable", and goes on with a new session', async () => {
    await db.tx((tx) => tx.run('create table t (n integer)'))
    const failure = await failureOf(db.tx(async (tx) => {
      await tx.run('insert into t (n) values (1)')
      await server.sql(`select pg_terminate_backend(${await pidOf(tx)})`)
      await tx.run('insert into t (n) values (2)')
    }))
    expect(failure).to.be.instanceOf(DbError).and.to.deep.include({ kind: 'unavailable', unknown: false })
    expect(await db.all('select n from t')).to.deep.equal([])
    await db.tx((tx) => tx.run('insert into t (n) values (3)'))
    expect(await db.all('select n from t')).to.deep.equal([{ n: 3 }])
  })

  it('notices nothing of sessions that were killed while nobody used them', async () => {
    await db.tx((tx) => tx.run('create table t (n integer)'))
    await db.all('select n from t')
    await server.sql(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}'`)
    expect(await db.all('select n from t')).to.deep.equal([])
    await db.tx((tx) => tx.run('insert into t (n) values (1)'))
    expect(await db.all('select n from t')).to.deep.equal([{ n: 1 }])
  })

  /** A trigger that waits when the mark of a commit is written: the session is then killed in the middle of its commit. */
  async function slowCommit(): Promise<void> {
    await server.sql(`create function wait() returns trigger language plpgsql as $$ begin if exists (select 1 from slow where n = 1) then perform pg_sleep(0.4); end if; return new; end $$;
      create table slow (n integer); insert into slow values (1);
      create constraint trigger waiting after insert on t deferrable initially deferred for each row execute function wait()`, database)
  }
  const committing = async (): Promise<number> => {
    for (;;) {
      const [found] = await server.sql(`select pid from pg_stat_activity where datname = '${database}' and wait_event = 'PgSleep'`)
      if (found) return Number(found.pid)
    }
  }

  it('finds out what became of a commit whose session was killed: it did not happen, and nobody is told that it did', async () => {
    await db.tx((tx) => tx.run('create table t (n integer)'))
    await slowCommit()
    const failure = failureOf(db.tx((tx) => tx.run('insert into t (n) values (1)')))
    await server.sql(`select pg_terminate_backend(${await committing()})`)
    expect(await failure).to.be.instanceOf(DbError).and.to.deep.include({ kind: 'unavailable', unknown: false })
    expect(await db.all('select n from t')).to.deep.equal([])
  })

  it('waits for a commit whose answer it gave up to hear: it did happen, and counts', async () => {
    const hasty = await open({ times: { statement: 200 } }) // no answer for 300 ms: the session is left, the server goes on
    await hasty.tx((tx) => tx.run('create table t (n integer)'))
    await slowCommit()
    expect(await hasty.tx(async (tx) => tx.run('insert into t (n) values (1)'))).to.equal(1)
    expect(await db.all('select n from t')).to.deep.equal([{ n: 1 }])
  })

  it('is unavailable while the server is stopped, and is there again when it is started, without being opened anew', async () => {
    const own = await PostgresServer.create()
    try {
      const mine = await openAt(own.url())
      await mine.tx((tx) => tx.run('create table t (n integer)'))
      await own.stop()
      const started = performance.now()
      for (const work of [() => mine.all('select n from t'), () => mine.tx((tx) => tx.run('insert into t (n) values (1)')), () => mine.snapshot((reader) => reader.all('select n from t'))]) {
        expect(await failureOf(work())).to.be.instanceOf(DbError).and.to.have.property('kind', 'unavailable')
      }
      expect(performance.now() - started).to.be.lessThan(5000)
      await own.start()
      await mine.tx((tx) => tx.run('insert into t (n) values (2)'))
      expect(await mine.all('select n from t')).to.deep.equal([{ n: 2 }])
      await mine.close()
    } finally {
      await own.remove()
    }
  })

  it('gives up a statement that takes too long, and a lock that somebody keeps', async () => {
    const hasty = await open({ times: { statement: 200, lock: 100 } })
    expect(await failureOf(hasty.get('select pg_sleep(5)'))).to.be.instanceOf(DbError).and.to.have.property('kind', 'unavailable')
    await db.tx((tx) => tx.run('create table t (n integer)'))
    const keeper = await open({ times: { idle: 60_000 } })
    await keeper.tx(async (tx) => {
      await tx.run('lock table t')
      expect(await failureOf(hasty.tx((mine) => mine.run('insert into t (n) values (1)')))).to.be.instanceOf(DbError).and.to.have.property('kind', 'busy')
    })
  })

  it('ends a transaction in which nothing happens any more: a hung manager keeps nobody waiting', async () => {
    const hasty = await open({ times: { idle: 100 } })
    const hung = gate()
    const work = hasty.tx(async (tx) => {
      await tx.get('select 1 as n')
      await hung.passed
      await tx.get('select 1 as n')
    })
    work.catch(() => undefined)
    while ((await server.sql(`select 1 from pg_stat_activity where datname = '${database}' and state = 'idle in transaction'`)).length > 0) { /* until it is ended */ }
    hung.open()
    expect(await failureOf(work)).to.be.instanceOf(DbError).and.to.have.property('kind', 'unavailable')
  })

  it('runs a transaction again when another program was in its way, so that no change is lost', async () => {
    await db.tx(async (tx) => {
      await tx.run('create table counter (n integer)')
      await tx.run('insert into counter (n) values (0)')
    })
    const three = [db, await open(), await open()]
    await Promise.all(three.flatMap((each) => Array.from({ length: 10 }, () => each.tx(async (tx) => {
      const n = numberOf(await tx.get('select n from counter') ?? {}, 'n')
      await tx.run('update counter set n = ?', [n + 1])
    }))))
    expect(await db.all('select n from counter')).to.deep.equal([{ n: 30 }])
  })

  it('is migrated once by managers that start at the same moment', async () => {
    const managers = await Promise.all([open(), open(), open()])
    await Promise.all(managers.map((each) => migrate(each)))
    expect(await db.all('select number from migrations')).to.have.length(schemaVersion)
  })

  it('serves many at a time with few sessions, and leaves none behind', async () => {
    const other = await openAt(server.url(database))
    await Promise.all(Array.from({ length: 200 }, () => other.get('select 1 as n')))
    const sessions = async (): Promise<number> => Number((await server.sql(`select count(*) as n from pg_stat_activity where datname = '${database}'`))[0]?.n)
    expect(await sessions()).to.be.at.most(8)
    const before = await sessions()
    await other.close()
    while (await sessions() >= before) { /* until they have ended */ }
  })

  it('has all its sessions for reads before the first read where it is asked to: who takes over has no time for it', async () => {
    const pids = async (): Promise<readonly unknown[]> => (await server.sql(`select pid from pg_stat_activity where datname = '${database}'`)).map(({ pid }) => pid)
    const before = new Set(await pids())
    const other = await openAt(server.url(database), { ahead: true })
    others.push(other)
    const opened = async (): Promise<readonly unknown[]> => (await pids()).filter((pid) => !before.has(pid))
    let found = await opened()
    while (found.length < 5) found = await opened() // four, and the one that writes
    await Promise.all(Array.from({ length: 8 }, () => other.get('select 1 as n')))
    expect(await opened(), 'and reads need no others').to.have.members(found)
  })

  it('has the server look after peers that are gone without a word: none keeps a session for longer than 20 s', async () => {
    // What the server says of these four is what its kernel says of the connection, in s and the last in ms.
    const session = await connectPrimary(targetOf(server.url(database)), postgresTimes)
    const now = async (name: string): Promise<number> => Number((await session.query('select current_setting(?) as n', [name])).rows[0]?.['n'])
    const [idle, interval, count, unanswered] = [await now('tcp_keepalives_idle'), await now('tcp_keepalives_interval'), await now('tcp_keepalives_count'), await now('tcp_user_timeout')]
    session.end()
    expect(idle + interval * count).to.be.within(1, 20)
    expect(unanswered).to.be.within(1, 20_000)
  })

  it('takes the one of several hosts that takes writes, and names each that does not, with its reason and without the password', async () => {
    await server.sql('create database frozen')
    await server.sql(`alter database frozen set default_transaction_read_only = on`)
    const target = targetOf(server.url(database))
    const dead = { host: '127.0.0.1', port: 1 }
    const session = await connectPrimary({ ...target, hosts: [dead, ...target.hosts] }, postgresTimes)
    expect(session.host).to.equal(1)
    session.end()
    const failure = await failureOf(connectPrimary({ ...target, database: 'frozen', hosts: [dead, ...target.hosts] }, postgresTimes))
    expect(failure).to.be.instanceOf(DbError).and.to.have.property('kind', 'unavailable')
    expect(String(failure)).to.match(/127\.0\.0\.1:1: .*REFUSED.*; 127\.0\.0\.1:\d+: it takes no writes/).and.not.to.contain(target.password)
  })

  it('refuses several hosts that do not replicate synchronously, and says what to do, unless a person accepts it', async () => {
    const target = targetOf(server.url(database))
    const two = { ...target, hosts: [...target.hosts, { host: '127.0.0.1', port: 1 }] }
    expect(String(await failureOf(openPostgres(two)))).to.contain('set synchronous_standby_names').and.to.contain('database_unreplicated = true')
    await (await openPostgres(two, { unreplicated: true })).close()
  })

  it('refuses a server that loses what it has committed', async () => {
    await server.sql('create database forgetful')
    await server.sql(`alter database forgetful set synchronous_commit = off`)
    expect(String(await failureOf(openAt(server.url('forgetful'))))).to.contain('synchronous_commit is off')
  })

  it('reads the password from a file', async () => {
    const target = targetOf(server.url(database))
    await (await openPostgres({ ...target, password: '', passwordFile: `${server.dir}/password` })).close()
    expect(String(await failureOf(openPostgres({ ...target, password: 'wrong' })))).to.contain('authentication failed')
    expect(String(await failureOf(openPostgres({ ...target, password: '', passwordFile: `${server.dir}/none` })))).to.contain(`Cannot read ${server.dir}/none`)
  })

  it('has all that was committed on the standby that takes over, and follows it there', async () => {
    const first = await PostgresServer.create()
    let second: PostgresServer | undefined
    try {
      second = await first.standby('second')
      await first.configure([`synchronous_standby_names = 'second'`])
      await first.reload()
      while ((await first.sql(`select 1 from pg_stat_replication where sync_state = 'sync'`)).length === 0) { /* until it counts */ }
      const mine = await openAt(first.url('postgres', { hosts: [second, first] }))
      await mine.tx((tx) => tx.run('create table t (word text)'))
      for (const word of ['a', 'b', 'c']) await mine.tx((tx) => tx.run('insert into t (word) values (?)', [word]))
      await first.stop('immediate')
      expect(await failureOf(mine.tx((tx) => tx.run(`insert into t (word) values ('lost')`)))).to.have.property('kind', 'unavailable')
      await second.promote()
      await mine.tx((tx) => tx.run(`insert into t (word) values ('d')`))
      expect((await mine.all('select word from t order by word')).map((row) => textOf(row, 'word'))).to.deep.equal(['a', 'b', 'c', 'd'])
      await mine.close()
    } finally {
      await second?.remove()
      await first.remove()
    }
  })
})
