"""Whether jobs of an account are open; accounts asks before it ends the account's grant."""

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from common.database import Database
from common.http.identity import caller
from publisher.storage.open_jobs import count_open_jobs


class OpenJobs(BaseModel):
    """How many jobs of the account have not ended."""

    open_jobs: int


def accounts_router(database: Database) -> APIRouter:
    """Return the routes below `/internal/accounts`."""
    router = APIRouter(prefix="/internal/accounts", dependencies=[Depends(caller("accounts"))])

    @router.get("/{account_id}/open-jobs")
    async def open_jobs(account_id: UUID) -> OpenJobs:
        """Count the account's jobs that have not ended, those that wait for their turn too; 0 for an unknown account."""
        async with database.read() as connection:
            return OpenJobs(open_jobs=await count_open_jobs(connection, account_id))

    return router
