/*
 * バックアップの設定ファイル
 * 表示名ソート能力 (二バイト目が円記号の文字)
 */
// 接続先のサーバー
HOST="vcenter.example.com";
USERNAME="backup";   // 一般ユーザーではない
// ＰＯＲＴは変更しないこと
PORT=443;
BACKUPROOT="/srv/バックアップ";
