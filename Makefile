# Needs only make and Python >= 3.11; everything else is installed into .venv and .local by the first target that runs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON := PYTHONPATH=deploy .venv/bin/python
STACK := $(PYTHON) -m localstack
SERVICES := gateway accounts scheduler publisher analytics
# `make scale publisher=3`: only what is given on the command line counts.
REPLICAS = $(foreach service,$(SERVICES),$(if $(filter command,$(origin $(service))),$(service)=$($(service))))

.PHONY: help bootstrap up down ps logs scale reset demo simulator migrate dead-letters audit-tail audit-user audit-verify audit-export audit-retention rotate-keys rotate-encryption-key schemas test bench chaos lock

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 30

bootstrap: ## install what is needed into .venv (every other target does it)
	@deploy/bootstrap.sh

up: bootstrap ## start the whole system on this machine
	@$(STACK) up

demo: up ## publish a real video through the whole system
	@$(PYTHON) -m demo

simulator: bootstrap ## TikTok alone on this machine, for clients of your own: SIMULATOR_PORT=8490 make simulator
	@.venv/bin/python -m tiktok_simulator

down: bootstrap ## stop it; data stays
	@$(STACK) down

ps: bootstrap ## show the processes and their memory
	@$(STACK) ps

logs: bootstrap ## follow the logs; one service: make logs service=publisher
	@$(STACK) logs $(service)

scale: bootstrap ## set the number of replicas: make scale publisher=3
	@$(if $(strip $(REPLICAS)),$(STACK) scale $(REPLICAS),echo "usage: make scale publisher=3"; exit 2)

reset: bootstrap ## stop it and remove its data
	@$(STACK) reset

migrate: bootstrap ## bring every database of the running system to its newest version
	@$(STACK) migrate

dead-letters: bootstrap ## messages that could not be handled: make dead-letters [do="show|replay|drop QUEUE [ID ...|--all]"]
	@$(STACK) dead-letters $(do)

audit-tail: bootstrap ## print events as they come: make audit-tail [only="scheduler.post.# publisher.#"] [json=1]
	@set -f; $(PYTHON) -m audit_tail $(only) $(if $(json),--json)

audit-user: bootstrap ## one more broker user that reads events, with queues of its own; prints its AMQP address: make audit-user name=datateam
	@$(STACK) audit-user "$(name)"

audit-verify: bootstrap ## prove that nothing in the audit trail was changed [known=SEQ:HASH, printed by an earlier run]
	@$(STACK) audit-verify $(known)

audit-export: bootstrap ## print the whole audit trail as JSON Lines, operators' actions too [after=SEQ: only what follows]
	@$(STACK) audit-export $(after)

audit-retention: bootstrap ## show for how long the audit trail is kept [days=90: from now on; see docs/operations.md for what to do before]
	@$(STACK) audit-retention $(days)

rotate-keys: bootstrap ## a new key for users' tokens; nobody is logged out [now=1: what the old one signed is refused at once]
	@$(STACK) rotate-keys $(if $(now),--now)

rotate-encryption-key: bootstrap ## a new key for what is stored encrypted, while everything runs
	@$(STACK) rotate-encryption-key

schemas: bootstrap ## write docs/events.md, docs/asyncapi.json and docs/schemas from the contracts (accept=KEY takes a breaking change, accept=all every one)
	@$(PYTHON) -m schemas $(accept)

test: bootstrap ## lint, types, boundaries, all tests, coverage
	@deploy/test.sh

bench: bootstrap ## measure, and print tables; one benchmark: make bench name=accounts_lists; strict=1: fail when a goal is missed
	@$(PYTHON) -m bench $(if $(strict),--strict) $(name)

chaos: bootstrap ## break a stack of its own at every point, and at random: make chaos [part=storm] [seed=7] [posts=200] [accounts=20] [replicas=3] [kills=30] [seconds=900]
	@$(PYTHON) -m chaos $(part) $(foreach option,seed posts accounts replicas kills seconds only,$(if $($(option)),--$(option)=$($(option))))

lock: bootstrap ## resolve the dependencies anew and export requirements/*.txt
	@UV=$(CURDIR)/.local/tools/bin/uv deploy/lock.sh $(if $(upgrade),--upgrade)
