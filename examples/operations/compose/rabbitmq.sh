#!/bin/sh
# Starts a RabbitMQ node with cookie and password from files, then goes on as the image would.
set -eu
umask 077
cp /run/secrets/rabbitmq-cookie /var/lib/rabbitmq/.erlang.cookie
printf 'default_user = plinth\ndefault_pass = %s\n' "$(cat /run/secrets/rabbitmq-password)" > /etc/rabbitmq/conf.d/90-user.conf
chown rabbitmq:rabbitmq /var/lib/rabbitmq/.erlang.cookie /etc/rabbitmq/conf.d/90-user.conf
exec docker-entrypoint.sh rabbitmq-server
