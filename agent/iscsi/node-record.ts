/**
 * open-iscsi's record of one target, written by ourselves: `iscsiadm -o update` costs a process for every setting, and would take the
 * CHAP password on its command line. Format of open-iscsi 2.1: /etc/iscsi/nodes/TARGET/ADDRESS,PORT,TPGT/default. Pure.
 */
import type { Chap } from '../../lib/wire/agent.js'

/**
 * Timers, seconds. A dead server is noticed after interval + timeout + replacement: 4.3 s in trials at 1/2/1, which still survives a
 * link that is away for one second (1/1/0 took 2.1 s, but turns any reset of the connection into a lost leg).
 */
export const timers = { noopInterval: 1, noopTimeout: 2, replacement: 1, login: 5, errorHandling: 2 } as const

export function nodeRecord({ target, address, chap }: { readonly target: string; readonly address: string; readonly chap: Chap }): string {
  const { noopInterval, noopTimeout, replacement, login, errorHandling } = timers
  return [
    '# BEGIN RECORD 2.1.8',
    `node.name = ${target}`, 'node.tpgt = 1', 'node.startup = manual', 'node.leading_login = No',
    'iface.iscsi_ifacename = default', 'iface.transport_name = tcp', 'node.discovery_type = static',
    'node.session.initial_cmdsn = 0', 'node.session.initial_login_retry_max = 1', 'node.session.xmit_thread_priority = -20', 'node.session.cmds_max = 128',
    'node.session.queue_depth = 64', 'node.session.nr_sessions = 1', 'node.session.scan = manual',
    'node.session.auth.authmethod = CHAP', `node.session.auth.username = ${chap.user}`, secretLine(chap),
    `node.session.timeo.replacement_timeout = ${replacement}`,
    ...['abort_timeout', 'lu_reset_timeout', 'tgt_reset_timeout', 'host_reset_timeout'].map((name) => `node.session.err_timeo.${name} = ${errorHandling}`),
    'node.session.iscsi.FastAbort = Yes', 'node.session.iscsi.InitialR2T = No', 'node.session.iscsi.ImmediateData = Yes',
    'node.session.iscsi.FirstBurstLength = 262144', 'node.session.iscsi.MaxBurstLength = 16776192', 'node.session.iscsi.DefaultTime2Retain = 0',
    'node.session.iscsi.DefaultTime2Wait = 0', 'node.session.iscsi.MaxConnections = 1', 'node.session.iscsi.MaxOutstandingR2T = 1', 'node.session.iscsi.ERL = 0',
    `node.conn[0].address = ${address}`, 'node.conn[0].port = 3260', 'node.conn[0].startup = manual', 'node.conn[0].tcp.window_size = 524288',
    'node.conn[0].tcp.type_of_service = 0', 'node.conn[0].timeo.logout_timeout = 5', `node.conn[0].timeo.login_timeout = ${login}`,
    'node.conn[0].timeo.auth_timeout = 5', `node.conn[0].timeo.noop_out_interval = ${noopInterval}`, `node.conn[0].timeo.noop_out_timeout = ${noopTimeout}`,
    'node.conn[0].iscsi.MaxXmitDataSegmentLength = 0', 'node.conn[0].iscsi.MaxRecvDataSegmentLength = 262144', 'node.conn[0].iscsi.HeaderDigest = None',
    'node.conn[0].iscsi.IFMarker = No', 'node.conn[0].iscsi.OFMarker = No', '# END RECORD', '',
  ].join('\n')
}

export function secretLine({ password }: Pick<Chap, 'password'>): string {
  return `node.session.auth.password = ${password}`
}

/** Where open-iscsi keeps its records. */
export const NODES = '/etc/iscsi/nodes'

export function recordPath(target: string, address: string): string {
  return `${NODES}/${target}/${address},3260,1/default`
}
