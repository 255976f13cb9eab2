//! What HAProxy and nginx are told: as an operator would write it, on one core and without logs.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use super::{HEALTH_ADDRESS, PORT};

/// Servers that answer by themselves, for want of an application.
pub(super) fn servers(address: Ipv4Addr, ports: &[u16]) -> String {
    let binds = ports.iter().fold(String::new(), |mut text, port| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    bind {address}:{port}");
        text
    });
    format!(
        "{HAPROXY}
frontend application
{binds}    http-request return status 200 content-type text/plain string \"Hello\\n\"
"
    )
}

/// In front of `servers`, as `name`.
pub(super) fn haproxy(name: &str, vip: Ipv4Addr, servers: &[SocketAddr]) -> String {
    let servers = servers.iter().enumerate().fold(String::new(), |mut text, (index, server)| {
        let _ = writeln!(text, "    server app{index} {server} check inter 1s");
        text
    });
    format!(
        "{HAPROXY}
frontend web
    bind {vip}:{PORT}
    http-response set-header x-served-by {name}
    default_backend application

backend application
    balance roundrobin
{servers}
frontend health
    bind {HEALTH_ADDRESS}
    monitor-uri /health
"
    )
}

const HAPROXY: &str = "global
    maxconn 5000
    nbthread 1

defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 30s
";

/// In front of `servers`, as `name`, with its files in `folder`.
pub(super) fn nginx(name: &str, vip: Ipv4Addr, servers: &[SocketAddr], folder: &Path) -> String {
    let servers = servers.iter().fold(String::new(), |mut text, server| {
        let _ = writeln!(text, "        server {server};");
        text
    });
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 10000;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000;
    upstream application {{
{servers}        keepalive 64;
    }}
    server {{
        listen {vip}:{PORT};
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            add_header x-served-by {name};
        }}
    }}
    server {{
        listen {HEALTH_ADDRESS};
        location = /health {{
            return 200 \"ok\\n\";
        }}
    }}
}}
"
    )
}
