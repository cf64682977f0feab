/**
 * The tables, as numbered migrations: forward only, each remembered with its checksum. A database whose migration is not what it was is
 * refused. So is one of a newer program, unless the database says that this one still runs on it: a release only adds (a table, a column
 * with a default, a wider check), and takes away what nothing has used since the release before it. So managers of two neighbouring
 * releases can share a database while a cluster is upgraded.
 *
 * Keys are ids made by the program; sizes are bytes; times are epoch milliseconds; lists are JSON text; booleans are 0 or 1.
 */
import { createHash } from 'node:crypto'
import { auditTables } from './audit.js'
import { DbError, numberOf, textOf } from './db.js'
import type { Db } from './db.js'

/** The same in the words of each engine, where they have no common ones. */
type Statement = string | Readonly<Record<Db['engine'], string>>

const DISCOUNT = 'update disk_use set extents = extents - 1, bytes = bytes - old.bytes where disk = old.disk;'
const COUNT_SQLITE = `insert into disk_use (disk, extents, bytes) values (new.disk, 1, new.bytes)
  on conflict (disk) do update set extents = extents + 1, bytes = bytes + excluded.bytes;`

const migrations: readonly (readonly Statement[])[] = [
  [
    // Who is active (epoch) and that it lives (beat) are two rows: in one, renewals and the epoch checks of state changes fight.
    `create table lease (name text primary key, epoch bigint not null, holder text not null, incarnation text not null,
       started_at bigint not null)`,
    `create table lease_beat (name text primary key, beat bigint not null)`,
    `create table hosts (name text primary key, roles text not null, zone text not null, address text not null, data_addresses text not null,
       initiator text not null, version text not null, boot_id text not null, incarnation text not null,
       chap_user text not null, chap_password text not null,
       duty text not null check (duty in ('use', 'drain', 'failed')))`,
    `create table disks (id text primary key, host text not null references hosts (name), device text not null,
       state text not null check (state in ('preparing', 'ready', 'missing', 'failed', 'removing')), problem text not null,
       bytes bigint not null, clean_bytes bigint not null, force integer not null check (force in (0, 1)),
       duty text not null check (duty in ('use', 'evacuate', 'failed')), unique (host, device))`,
    `create table volumes (id text primary key, name text not null unique, bytes bigint not null, redundancy integer not null,
       phase text not null check (phase in ('creating', 'detached', 'attaching', 'attached', 'detaching', 'fencing')),
       head text not null, attach_epoch bigint not null, attach_boot text not null, device text not null, problem text not null,
       created_at bigint not null, layout bigint not null, copy_head text not null, copy_boot text not null, next_head text not null)`,
    `create index volumes_by_copy_head on volumes (copy_head) where copy_head <> ''`,
    `create index volumes_by_head on volumes (head) where head <> ''`,
    `create index volumes_by_phase on volumes (phase) where phase not in ('detached', 'attached')`,
    `create table segments (volume text not null references volumes (id) on delete cascade, idx integer not null, first_byte bigint not null,
       bytes bigint not null, generation bigint not null, spare integer not null check (spare in (0, 1)), primary key (volume, idx))`,
    // Spares were made for it: it is looked at until it has no leg too many.
    `create index segments_with_spares on segments (volume, idx) where spare = 1`,
    // An extent outlives its volume: 'dropping' is a tombstone, removed when the server has confirmed that the extent is gone.
    `create table extents (id text primary key, disk text not null references disks (id), host text not null, volume text not null,
       segment integer not null, slot integer not null, bytes bigint not null, lun integer not null,
       state text not null check (state in ('planned', 'ready', 'dropping')),
       leg text not null check (leg in ('allocated', 'insync', 'stale', 'syncing')),
       stale_since bigint not null, retry_at bigint not null, doubt integer not null check (doubt in (0, 1)), unique (host, lun))`,
    `create index extents_not_in_sync on extents (volume, segment) where leg <> 'insync' and state <> 'dropping'`,
    `create index extents_by_volume on extents (volume, segment, slot)`,
    `create index extents_by_disk on extents (disk)`,
    `create index extents_dropping on extents (host) where state = 'dropping'`,
    `create table requests (id text primary key, method text not null, digest text not null, about text not null,
       state text not null check (state in ('open', 'done', 'failed')), fault text not null, message text not null, created_at bigint not null)`,
    `create index requests_open on requests (about) where state = 'open'`,
    `create table jobs (id text primary key, kind text not null check (kind in ('resync', 'evacuate', 'drain')), about text not null, name text not null,
       segment integer not null, state text not null check (state in ('waiting', 'running', 'done', 'failed', 'cancelled')), note text not null,
       bytes bigint not null, created_at bigint not null, started_at bigint not null, ended_at bigint not null)`,
    `create unique index jobs_open on jobs (kind, about, segment) where state in ('waiting', 'running')`,
    `create table settings (name text primary key, value text not null)`,
    `create table events (seq integer primary key, at_ms bigint not null, kind text not null, about text not null, name text not null, text text not null)`,
  ],
  [
    `alter table volumes add column remembers integer not null default 0 check (remembers in (0, 1))`,
    `alter table volumes add column settled bigint not null default 0`,
    `alter table volumes add column since_birth integer not null default 0 check (since_birth in (0, 1))`,
    `alter table extents add column since bigint not null default 0`,
    `alter table disks add column read_errors integer not null default 0`,
  ],
  [
    // What the holder of the lease tells of itself; `written_by` is its incarnation: an older release leaves what a former holder wrote.
    `alter table lease add column ttl bigint not null default 6000`,
    `alter table lease add column released integer not null default 0 check (released in (0, 1))`,
    `alter table lease add column next text not null default ''`,
    `alter table lease add column place text not null default ''`,
    `alter table lease add column address text not null default ''`,
    `alter table lease add column written_by text not null default ''`,
    // Managers that are there; the beat moves as long as one lives.
    `create table managers (name text primary key, address text not null, version text not null, beat bigint not null)`,
  ],
  [
    // The numbers that clients of the original API know things by. A counter never goes back, so no number is given out twice.
    `create table classic_counters (counter text primary key, next bigint not null)`,
    `create table classic_ids (counter text not null, id integer not null, what text not null, ours text not null, owner text not null,
       registered text not null default '', halted text not null default '', primary key (counter, id), unique (what, ours))`,
    `create index classic_ids_by_owner on classic_ids (owner) where owner <> ''`,
  ],
  [
    // With the bytes in it: what is used of a disk is summed up in the index alone, not in 300,000 rows that lie anywhere.
    `drop index extents_by_disk`,
    `create index extents_by_disk on extents (disk, bytes)`,
  ],
  [
    // Who is let in without a certificate. Of a secret there is only its hash; what is revoked is deleted.
    `create table tokens (id text primary key, name text not null unique, role text not null check (role in ('viewer', 'operator', 'admin', 'hypervisor')),
       host text not null check ((role = 'hypervisor') = (host <> '')), hash text not null, created_at bigint not null, expires_at bigint not null)`,
    `create table users (name text primary key, role text not null check (role in ('viewer', 'operator', 'admin')), hash text not null,
       created_at bigint not null, changed_at bigint not null)`,
  ],
  [
    // Hosts that may join, once each, and the one public key that a host which joined is known by. Of a secret there is only its hash.
    `create table invitations (id text primary key, host text not null unique, hash text not null, created_at bigint not null, expires_at bigint not null, used_by text not null)`,
    `create table host_keys (host text primary key, digest text not null, since bigint not null)`,
  ],
  auditTables,
  [
    // A rebalance is no row of `jobs`: a manager of an older release would not know the word.
    `create table rebalances (id text primary key, state text not null check (state in ('waiting', 'running', 'done', 'failed', 'cancelled')), note text not null,
       bytes bigint not null, moved bigint not null, created_at bigint not null, started_at bigint not null, ended_at bigint not null)`,
    `alter table extents add column moving integer not null default 0 check (moving in (0, 1))`,
    `create index extents_moving on extents (disk, bytes) where moving = 1`,
  ],
  [
    // What is used of each disk, kept by the database itself, whoever writes: to sum it up for a thousand servers takes a third of a second.
    `create table disk_use (disk text primary key, extents bigint not null, bytes bigint not null)`,
    `insert into disk_use (disk, extents, bytes) select disk, count(*), sum(bytes) from extents group by disk`,
    {
      sqlite: `create trigger extent_counted after insert on extents begin ${COUNT_SQLITE} end`,
      postgres: `create function count_extent() returns trigger language plpgsql as $$ begin
        if tg_op <> 'INSERT' then ${DISCOUNT} end if;
        if tg_op <> 'DELETE' then
          insert into disk_use as u (disk, extents, bytes) values (new.disk, 1, new.bytes) on conflict (disk) do update set extents = u.extents + 1, bytes = u.bytes + excluded.bytes;
        end if;
        return null;
      end $$`,
    },
    {
      sqlite: `create trigger extent_discounted after delete on extents begin ${DISCOUNT} end`,
      postgres: `create trigger extent_counted after insert or delete on extents for each row execute function count_extent()`,
    },
    {
      sqlite: `create trigger extent_recounted after update of disk, bytes on extents begin ${DISCOUNT} ${COUNT_SQLITE} end`,
      postgres: `create trigger extent_recounted after update of disk, bytes on extents for each row execute function count_extent()`,
    },
  ],
  [
    // What heads were shut out from before they let it go: to be taken from them when they are heard, also when the volume is gone by then.
    `create table unreleased (head text not null, volume text not null, attach_epoch bigint not null, primary key (head, volume))`,
  ],
]

/** Migrations that take something away, or add what an older program leaves out: on what they make, and on all after it, no older program runs. */
const breaks: readonly number[] = [1, 2, 3, 4]

export const schemaVersion = migrations.length

/** Brings a database to this program's schema, or to an older one, `upTo`, as that one's program would. Throws DbError for one that it can't run on. */
export async function migrate(db: Db, upTo = migrations.length): Promise<void> {
  await db.tx(async (tx) => {
    await tx.run('create table if not exists migrations (number integer primary key, checksum text not null)')
    await tx.run('create table if not exists runs_from (number integer primary key, schema_version integer not null)')
    const done = await tx.all('select number, checksum from migrations order by number')
    const runsFrom = new Map((await tx.all('select number, schema_version from runs_from')).map((row) => [numberOf(row, 'number'), numberOf(row, 'schema_version')]))
    const needs = Math.max(0, ...done.slice(upTo).map((row) => runsFrom.get(numberOf(row, 'number')) ?? numberOf(row, 'number')))
    if (needs > upTo) {
      throw new DbError('other', `the database has schema ${done.length} and needs a program that knows ${needs}, this one knows ${upTo}: start the newer release`)
    }
    for (const [index, all] of migrations.slice(0, upTo).entries()) {
      const statements = all.map((each) => (typeof each === 'string' ? each : each[db.engine]))
      const checksum = createHash('sha256').update(statements.join(';')).digest('hex')
      const row = done[index]
      if (row) {
        if (numberOf(row, 'number') !== index + 1 || textOf(row, 'checksum') !== checksum) {
          throw new DbError('corrupt', `migration ${index + 1} of the database is not this program's`)
        }
        continue
      }
      for (const statement of statements) await tx.run(db.engine === 'sqlite' ? statement : wider(statement))
      await tx.run('insert into migrations (number, checksum) values (?, ?)', [index + 1, checksum])
      await tx.run('insert into runs_from (number, schema_version) values (?, ?)', [index + 1, Math.max(...breaks.filter((each) => each <= index + 1))])
    }
  }, { alone: true })
}

/** The integer of SQLite has 64 bits, and only so called it may be a row's number; that of PostgreSQL has 32. */
function wider(statement: string): string {
  return statement.replace('integer primary key', 'bigint primary key')
}
